// Who pulls the image: an identity of its own, which may do nothing else.
param site string
param location string

resource puller 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: '${site}-pull'
  location: location
}

output identityId string = puller.id
output principalId string = puller.properties.principalId
