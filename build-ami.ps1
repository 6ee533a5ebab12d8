<#
.SYNOPSIS
Bakes the AMI and puts it into Batch: Pulumi's commands for one stack, from PowerShell.

.DESCRIPTION
Needs Python 3.11 or newer and Pulumi on PATH, and AWS credentials as any AWS tool takes them.
-Debug shows each command of the bake, and keeps the builder after a failure; for this run only.

.EXAMPLE
./build-ami.ps1 -Action preview

.EXAMPLE
./build-ami.ps1 -Action up -Stack prod -Debug
#>
[CmdletBinding(PositionalBinding = $false)]
param(
    [ValidateSet('preview', 'up', 'validate', 'destroy')]
    [string] $Action = 'preview',

    [string] $Stack = 'dev',

    # Whatever else Pulumi is to be told, such as --yes.
    [Parameter(ValueFromRemainingArguments = $true)]
    [string[]] $More = @()
)

$ErrorActionPreference = 'Stop'
Push-Location -LiteralPath $PSScriptRoot
try {
    $python = if ($env:OS -eq 'Windows_NT') { '.venv/Scripts/python.exe' } else { '.venv/bin/python' }
    if (-not (Test-Path -LiteralPath $python)) {
        pulumi install
        if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }
    }
    $words = @('-m', 'toolchain.own_account', $Action, '--stack', $Stack) + $More
    if ($PSBoundParameters.ContainsKey('Debug')) {
        $words += '--debug'
    }
    & $python $words
    exit $LASTEXITCODE
}
finally {
    Pop-Location
}
