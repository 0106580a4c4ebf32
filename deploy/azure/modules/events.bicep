// What Communication Services tells of e-mail, sent to the receiver.
param site string
param communicationServiceName string
param receiverUrl string
param deadLetterAccountId string
param deadLetterContainer string
param deadLetterIdentityId string
param byIdentity bool

@secure()
param deliverySecret string

var deadLetters = {
  endpointType: 'StorageBlob'
  properties: {
    resourceId: deadLetterAccountId
    blobContainerName: deadLetterContainer
  }
}

resource communication 'Microsoft.Communication/communicationServices@2023-04-01' existing = {
  name: communicationServiceName
}

// A resource has one system topic. If yours has one by another name, put that name here.
resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' = {
  name: '${site}-acs-events'
  location: 'global'
  // Where the source is global Azure may refuse one: then dead letters are written by the account's key.
  identity: byIdentity ? {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${deadLetterIdentityId}': {}
    }
  } : null
  properties: {
    source: communication.id
    topicType: 'Microsoft.Communication.CommunicationServices'
  }
}

resource subscription 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = {
  parent: topic
  name: '${site}-attribution'
  properties: {
    // CloudEvents' handshake needs no secret. Event Grid's own does, and nobody says that it carries the header below.
    eventDeliverySchema: 'CloudEventSchemaV1_0'
    destination: {
      endpointType: 'WebHook'
      properties: {
        endpointUrl: '${receiverUrl}/eventgrid'
        // One request is one entry and one answer, so large batches cost less.
        maxEventsPerBatch: 5000
        preferredBatchSizeInKilobytes: 1024
        minimumTlsVersionAllowed: '1.2'
        deliveryAttributeMappings: [
          {
            name: 'x-attribution-secret'
            type: 'Static'
            properties: {
              value: deliverySecret
              isSecret: true
            }
          }
        ]
      }
    }
    filter: {
      includedEventTypes: [
        'Microsoft.Communication.EmailDeliveryReportReceived'
        'Microsoft.Communication.EmailEngagementTrackingReportReceived'
      ]
    }
    // Both are Event Grid's most: a day to mend what is broken.
    retryPolicy: {
      maxDeliveryAttempts: 30
      eventTimeToLiveInMinutes: 1440
    }
    deadLetterWithResourceIdentity: byIdentity ? {
      identity: {
        type: 'UserAssigned'
        userAssignedIdentity: deadLetterIdentityId
      }
      deadLetterDestination: deadLetters
    } : null
    deadLetterDestination: byIdentity ? null : deadLetters
  }
}
