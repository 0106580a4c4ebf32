// Azure Managed Redis as it must be, for a site that has none yet. Its own deployment, before main.bicep's: docs/azure.md.
targetScope = 'resourceGroup'

@description('north-redis')
@minLength(3)
@maxLength(60)
param name string

param location string = resourceGroup().location

@description('A quarter of its memory should do on most days. Unclustered it has 25 GB at most.')
@allowed([
  'Balanced_B1'
  'Balanced_B3'
  'Balanced_B5'
  'Balanced_B10'
  'Balanced_B20'
])
param sku string = 'Balanced_B5'

@description('Disabled, if there is a private endpoint, and the environment of the site in its virtual network.')
@allowed([
  'Enabled'
  'Disabled'
])
param publicNetworkAccess string = 'Enabled'

@description('How often what is written goes to the disk. Azure deprecates always, and may refuse it.')
@allowed([
  '1s'
  'always'
])
param aofFrequency string = '1s'

resource cluster 'Microsoft.Cache/redisEnterprise@2025-07-01' = {
  name: name
  location: location
  sku: {
    name: sku
  }
  properties: {
    highAvailability: 'Enabled'
    minimumTlsVersion: '1.2'
    publicNetworkAccess: publicNetworkAccess
  }
}

resource database 'Microsoft.Cache/redisEnterprise/databases@2025-07-01' = {
  parent: cluster
  name: 'default'
  properties: {
    clientProtocol: 'Encrypted'
    port: 10000
    // Both streams are read by one command, and so are Celery's queues: no other policy allows that of keys in many slots.
    clusteringPolicy: 'NoCluster'
    // Whatever else it is, a full Redis takes a stream for something to throw away.
    evictionPolicy: 'NoEviction'
    persistence: {
      aofEnabled: true
      aofFrequency: aofFrequency
    }
    // Off by default. Neither Celery nor KEDA can do with Microsoft Entra ID instead.
    accessKeysAuthentication: 'Enabled'
  }
}

output redisAddress string = '${cluster.properties.hostName}:${database.properties.port}'
