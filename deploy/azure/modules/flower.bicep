// Flower, for who is inside the environment's network. It can stop workers, so it is never open to the world.
param site string
param location string
param environmentId string
param pullIdentityId string
param registryServer string
param image string

@secure()
param databaseUrl string

@secure()
param redisUrl string

@secure()
param flowerAuth string

resource flower 'Microsoft.App/containerApps@2025-01-01' = {
  name: '${site}-flower'
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
          name: 'flower-auth'
          value: flowerAuth
        }
      ]
      ingress: {
        external: false
        targetPort: 5555
        transport: 'http'
        allowInsecure: false
      }
    }
    template: {
      containers: [
        {
          name: 'flower'
          image: '${registryServer}/${image}'
          args: [
            'flower'
            '--host=0.0.0.0'
          ]
          env: [
            {
              name: 'ATTRIBUTION_DATABASE_URL'
              secretRef: 'database-url'
            }
            {
              name: 'ATTRIBUTION_REDIS_URL'
              secretRef: 'redis-url'
            }
            {
              name: 'ATTRIBUTION_FLOWER_AUTH'
              secretRef: 'flower-auth'
            }
            {
              name: 'SECRETS_HASH'
              value: uniqueString(databaseUrl, redisUrl, flowerAuth)
            }
          ]
          resources: {
            cpu: json('0.25')
            memory: '0.5Gi'
          }
          probes: [
            {
              type: 'Liveness'
              httpGet: {
                path: '/healthcheck'
                port: 5555
              }
              periodSeconds: 30
              timeoutSeconds: 5
              failureThreshold: 3
            }
          ]
        }
      ]
      scale: {
        minReplicas: 1
        maxReplicas: 1
      }
    }
  }
}
