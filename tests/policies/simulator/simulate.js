// Reads {policies: {name: document}, requests: [{policy, principal, action, resource, account,
// context}]} from standard input and writes a list of {result, why, ignored}, one a request.
import { readFileSync } from 'node:fs'
import { runSimulation } from '@cloud-copilot/iam-simulate'

const { policies, requests } = JSON.parse(readFileSync(0, 'utf8'))

// AWS's default key policy: the account's IAM policies decide.
const keyPolicy = (account) => ({
  Version: '2012-10-17',
  Statement: [
    {
      Effect: 'Allow',
      Principal: { AWS: `arn:aws:iam::${account}:root` },
      Action: 'kms:*',
      Resource: '*',
    },
  ],
})

async function decide({ policy, principal, action, resource, account, context }) {
  const answer = await runSimulation(
    {
      identityPolicies: [{ name: policy, policy: policies[policy] }],
      serviceControlPolicies: [],
      resourceControlPolicies: [],
      ...(action.startsWith('kms:') ? { resourcePolicy: keyPolicy(account) } : {}),
      request: {
        principal,
        action,
        resource: { resource, accountId: account },
        contextVariables: context,
      },
    },
    { simulationMode: 'Strict' },
  )
  if (answer.resultType === 'error') return { result: 'Error', why: JSON.stringify(answer.errors) }
  const ignored = answer.result?.ignoredContextKeys ?? []
  return { result: answer.overallResult, why: answer.resultType, ignored }
}

const answers = []
for (const request of requests) answers.push(await decide(request))
process.stdout.write(JSON.stringify(answers))
