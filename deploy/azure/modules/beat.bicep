// The beat: one, and no more. While an upgrade replaces it there are two for a moment, which does no harm.
param site string
param location string
param environmentId string
param pullIdentityId string
param registryServer string
param image string
param settings object

@secure()
param databaseUrl string

@secure()
param redisUrl string

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

resource beat 'Microsoft.App/containerApps@2025-01-01' = {
  name: '${site}-beat'
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
          // Azure refuses a secret without a value, and to remove one that what runs refers to.
          name: 'sentry-dsn'
          value: empty(sentryDsn) ? 'none' : sentryDsn
        }
      ]
    }
    template: {
      containers: [
        {
          name: 'beat'
          image: '${registryServer}/${image}'
          args: [
            'beat'
          ]
          env: concat([
            {
              name: 'ATTRIBUTION_DATABASE_URL'
              secretRef: 'database-url'
            }
            {
              name: 'ATTRIBUTION_REDIS_URL'
              secretRef: 'redis-url'
            }
            {
              name: 'SECRETS_HASH'
              value: uniqueString(databaseUrl, redisUrl, sentryDsn)
            }
          ], sentryVariables, chosen)
          resources: {
            cpu: json('0.25')
            memory: '0.5Gi'
          }
        }
      ]
      scale: {
        minReplicas: 1
        maxReplicas: 1
      }
    }
  }
}
