"""`python -m ami_provider COMMAND`: what people and pipelines do beside Pulumi."""

from ami_provider.cli import main

if __name__ == "__main__":
    main(prog_name="python -m ami_provider")
