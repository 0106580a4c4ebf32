// Where Event Grid puts what it could not deliver for a day. `attribution import` brings it in: see docs/azure.md.
param site string
param location string
param byIdentity bool

var blobDataContributor = 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'

resource account 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: take('${toLower(replace(site, '-', ''))}${uniqueString(resourceGroup().id, site)}', 24)
  location: location
  kind: 'StorageV2'
  sku: {
    name: 'Standard_ZRS'
  }
  properties: {
    allowBlobPublicAccess: false
    allowSharedKeyAccess: !byIdentity
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2023-05-01' = {
  parent: account
  name: 'default'
  properties: {
    deleteRetentionPolicy: {
      enabled: true
      days: 14
    }
  }
}

resource container 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = {
  parent: blobs
  name: 'deadletters'
}

resource writer 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = if (byIdentity) {
  name: '${site}-deadletters'
  location: location
}

resource mayWrite 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (byIdentity) {
  name: guid(account.id, writer.id, blobDataContributor)
  scope: account
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobDataContributor)
    principalId: writer.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

output accountId string = account.id
output accountName string = account.name
output container string = container.name
output identityId string = byIdentity ? writer.id : ''
