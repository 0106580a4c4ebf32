// The workers with their drain processes: one at least, more while requests wait on the streams.
param site string
param location string
param environmentId string
param pullIdentityId string
param registryServer string
param image string
param settings object
param maxWorkers int
param redisAddress string

@secure()
param databaseUrl string

@secure()
param redisUrl string

@secure()
param redisPassword string

@secure()
param recipientKey string

@description('Empty: Sentry is told nothing.')
@secure()
param sentryDsn string

var sentryVariables = empty(sentryDsn) ? [] : [
  {
    name: 'ATTRIBUTION_SENTRY_DSN'
    secretRef: 'sentry-dsn'
  }
]

var chosen = [for setting in items(settings): {
  name: setting.key
  value: setting.value
}]

resource worker 'Microsoft.App/containerApps@2025-01-01' = {
  name: '${site}-worker'
  location: location
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${pullIdentityId}': {}
    }
  }
  properties: {
    environmentId: environmentId
    workloadProfileName: 'Consumption'
    configuration: {
      activeRevisionsMode: 'Single'
      registries: [
        {
          server: registryServer
          identity: pullIdentityId
        }
      ]
      secrets: [
        {
          name: 'database-url'
          value: databaseUrl
        }
        {
          name: 'redis-url'
          value: redisUrl
        }
        {
          name: 'redis-password'
          value: redisPassword
        }
        {
          name: 'recipient-key'
          value: recipientKey
        }
        {
          // Azure refuses a secret without a value, and to remove one that what runs refers to.
          name: 'sentry-dsn'
          value: empty(sentryDsn) ? 'none' : sentryDsn
        }
      ]
    }
    template: {
      // The longest task, then the drain's last batch.
      terminationGracePeriodSeconds: 120
      containers: [
        {
          name: 'worker'
          image: '${registryServer}/${image}'
          args: [
            'worker'
          ]
          env: concat([
            {
              name: 'ATTRIBUTION_METRICS_HOST'
              value: '0.0.0.0'
            }
            {
              name: 'ATTRIBUTION_DATABASE_URL'
              secretRef: 'database-url'
            }
            {
              name: 'ATTRIBUTION_REDIS_URL'
              secretRef: 'redis-url'
            }
            {
              name: 'ATTRIBUTION_RECIPIENT_KEY'
              secretRef: 'recipient-key'
            }
            {
              // A changed secret alone makes no new revision, and what runs would go on with the old one.
              name: 'SECRETS_HASH'
              value: uniqueString(databaseUrl, redisUrl, recipientKey, sentryDsn)
            }
          ], sentryVariables, chosen)
          resources: {
            cpu: json('1.0')
            memory: '2Gi'
          }
          probes: [
            {
              // Whether it lives, and not whether Redis does: a restart would not help.
              type: 'Liveness'
              tcpSocket: {
                port: 9464
              }
              initialDelaySeconds: 30
              periodSeconds: 30
              failureThreshold: 3
            }
          ]
        }
      ]
      scale: {
        minReplicas: 1
        maxReplicas: maxWorkers
        // By length and not by lag: what is done leaves the stream, so its length is what waits and what is in hand.
        // docs/adr/0030-scale-by-length.md
        rules: [
          {
            name: 'events'
            custom: {
              type: 'redis-streams'
              metadata: {
                address: redisAddress
                enableTLS: 'true'
                stream: 'attribution:events'
                streamLength: '5000'
              }
              auth: [
                {
                  secretRef: 'redis-password'
                  triggerParameter: 'password'
                }
              ]
            }
          }
          {
            name: 'messages'
            custom: {
              type: 'redis-streams'
              metadata: {
                address: redisAddress
                enableTLS: 'true'
                stream: 'attribution:messages'
                streamLength: '5000'
              }
              auth: [
                {
                  secretRef: 'redis-password'
                  triggerParameter: 'password'
                }
              ]
            }
          }
        ]
      }
    }
  }
}
