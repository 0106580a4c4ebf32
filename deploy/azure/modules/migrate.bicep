// The migration: a job that is started by hand, or by the pipeline that deploys, before the new release.
param site string
param location string
param environmentId string
param pullIdentityId string
param registryServer string
param image string

@secure()
param databaseUrl string

resource migrate 'Microsoft.App/jobs@2025-01-01' = {
  name: '${site}-migrate'
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
      triggerType: 'Manual'
      // It waits for nobody longer than seconds, but an index of many millions of rows takes its time.
      replicaTimeout: 7200
      // It goes on where it stopped, so it may be tried again.
      replicaRetryLimit: 2
      manualTriggerConfig: {
        parallelism: 1
        replicaCompletionCount: 1
      }
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
      ]
    }
    template: {
      containers: [
        {
          name: 'migrate'
          image: '${registryServer}/${image}'
          args: [
            'migrate'
          ]
          env: [
            {
              name: 'ATTRIBUTION_DATABASE_URL'
              secretRef: 'database-url'
            }
          ]
          resources: {
            cpu: json('0.5')
            memory: '1Gi'
          }
        }
      ]
    }
  }
}

output name string = migrate.name
