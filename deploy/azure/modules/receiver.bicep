// The receiver: open to the world, since Event Grid is, and at least one of it at any time.
param site string
param location string
param environmentId string
param pullIdentityId string
param registryServer string
param image string
param settings object

@secure()
param redisUrl string

@secure()
param eventSecrets string

@secure()
param messageSecrets string

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

resource receiver 'Microsoft.App/containerApps@2025-01-01' = {
  name: '${site}-receiver'
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
          name: 'redis-url'
          value: redisUrl
        }
        {
          name: 'event-secrets'
          value: eventSecrets
        }
        {
          name: 'message-secrets'
          value: messageSecrets
        }
        {
          // Azure refuses a secret without a value, and to remove one that what runs refers to.
          name: 'sentry-dsn'
          value: empty(sentryDsn) ? 'none' : sentryDsn
        }
      ]
      ingress: {
        external: true
        targetPort: 8080
        transport: 'http'
        allowInsecure: false
      }
    }
    template: {
      // A request may take the time its body is given, and Redis's.
      terminationGracePeriodSeconds: 30
      containers: [
        {
          name: 'receiver'
          image: '${registryServer}/${image}'
          args: [
            'receiver'
          ]
          env: concat([
            {
              name: 'ATTRIBUTION_HOST'
              value: '0.0.0.0'
            }
            {
              name: 'ATTRIBUTION_PORT'
              value: '8080'
            }
            {
              name: 'ATTRIBUTION_REDIS_URL'
              secretRef: 'redis-url'
            }
            {
              name: 'ATTRIBUTION_EVENT_SECRETS'
              secretRef: 'event-secrets'
            }
            {
              name: 'ATTRIBUTION_MESSAGE_SECRETS'
              secretRef: 'message-secrets'
            }
            {
              // A changed secret alone makes no new revision, and what runs would go on with the old one.
              name: 'SECRETS_HASH'
              value: uniqueString(redisUrl, eventSecrets, messageSecrets, sentryDsn)
            }
          ], sentryVariables, chosen)
          resources: {
            cpu: json('0.5')
            memory: '1Gi'
          }
          probes: [
            {
              type: 'Liveness'
              httpGet: {
                path: '/healthz'
                port: 8080
              }
              periodSeconds: 10
              timeoutSeconds: 5
              failureThreshold: 3
            }
            {
              type: 'Readiness'
              httpGet: {
                path: '/readyz'
                port: 8080
              }
              periodSeconds: 10
              timeoutSeconds: 5
              failureThreshold: 3
            }
          ]
        }
      ]
      scale: {
        minReplicas: 1
        maxReplicas: 5
        rules: [
          {
            name: 'requests'
            http: {
              metadata: {
                concurrentRequests: '100'
              }
            }
          }
        ]
      }
    }
  }
}

output url string = 'https://${receiver.properties.configuration.ingress.fqdn}'
