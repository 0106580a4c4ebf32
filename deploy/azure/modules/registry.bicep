// Who may pull the image: an identity of its own, which may do nothing else.
param site string
param location string
param registryName string

var acrPull = '7f951dda-4ed3-4680-a7ca-43fe172d538d'

resource registry 'Microsoft.ContainerRegistry/registries@2023-07-01' existing = {
  name: registryName
}

resource puller 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: '${site}-pull'
  location: location
}

resource mayPull 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(registry.id, puller.id, acrPull)
  scope: registry
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', acrPull)
    principalId: puller.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

output server string = registry.properties.loginServer
output pullIdentityId string = puller.id
