// One site: receiver, worker, beat and the migration's job in Container Apps, and the Event Grid subscription that feeds
// them. PostgreSQL, Redis, the registry with the image, and the Communication Services resource are there already.
// docs/azure.md walks through it.
targetScope = 'resourceGroup'

@description('Begins the name of everything that is made here.')
@minLength(3)
@maxLength(20)
param site string

param location string = resourceGroup().location

@description('Name of the container registry, which several sites may share.')
param registryName string

@description('Resource group of the registry, in this subscription.')
param registryResourceGroup string = resourceGroup().name

@description('Image in that registry, with the tag of a release: engagement-attribution:0.1.0')
param image string

@description('Name of the Communication Services resource in this resource group, whose events are to come.')
param communicationServiceName string

@description('Whether Event Grid is to send. Not before the receiver answers: the handshake would fail.')
param subscribe bool = false

@description('Whether Event Grid writes dead letters by a managed identity, and not by the key of the account. See docs/azure.md.')
param deadLettersByIdentity bool = false

@description('Subnet of the environment, if PostgreSQL or Redis are in a virtual network.')
param subnetId string = ''

@description('Settings of docs/settings.md that differ from their defaults and are no secret.')
param settings object = {}

@description('Most workers at once. More than PostgreSQL has cores do not drain faster.')
@minValue(1)
param maxWorkers int = 4

@description('Whether Flower runs, reachable inside the environment only.')
param flower bool = false

@description('postgresql://user:password@host:5432/name?sslmode=verify-full&sslrootcert=/etc/ssl/certs/ca-certificates.crt')
@secure()
param databaseUrl string

@description('Host and port of Redis with TLS: name.region.redis.azure.net:10000')
param redisAddress string

@secure()
param redisPassword string

@description('Secrets of Event Grid, with commas between them. It sends the first; the receiver takes all.')
@secure()
param eventSecrets string

@description('Secrets of mailers that post to /messages, with commas between them.')
@secure()
param messageSecrets string

@description('Key of the hashes by which recipients are stored. Keep it for good: docs/privacy.md')
@secure()
param recipientKey string

@description('user:password of Flower.')
@secure()
param flowerAuth string = ''

@description('Where errors and incidents are told: the DSN of a Sentry project. Empty: nowhere.')
@secure()
param sentryDsn string = ''

@description('Where traces go, by OTLP over HTTP: http://collector:4318. Empty: none are made.')
param otlpEndpoint string = ''

@description('Share of requests that are traced.')
param tracesShare string = '0.01'

// What the site says wins.
var chosen = union({
  ATTRIBUTION_SENTRY_ENVIRONMENT: site
}, empty(otlpEndpoint) ? {} : {
  OTEL_EXPORTER_OTLP_ENDPOINT: otlpEndpoint
  OTEL_TRACES_SAMPLER: 'parentbased_traceidratio'
  OTEL_TRACES_SAMPLER_ARG: tracesShare
}, settings)

// Without the parameter Celery does not verify the certificate.
var redisUrl = 'rediss://:${uriComponent(redisPassword)}@${redisAddress}/0?ssl_cert_reqs=required'

module puller 'modules/puller.bicep' = {
  name: '${site}-puller'
  params: {
    site: site
    location: location
  }
}

module registry 'modules/registry.bicep' = {
  name: '${site}-registry'
  scope: resourceGroup(registryResourceGroup)
  params: {
    registryName: registryName
    pullIdentityId: puller.outputs.identityId
    pullPrincipalId: puller.outputs.principalId
  }
}

module environment 'modules/environment.bicep' = {
  name: '${site}-environment'
  params: {
    site: site
    location: location
    subnetId: subnetId
  }
}

module migrate 'modules/migrate.bicep' = {
  name: '${site}-migrate'
  params: {
    site: site
    location: location
    environmentId: environment.outputs.id
    pullIdentityId: puller.outputs.identityId
    registryServer: registry.outputs.server
    image: image
    databaseUrl: databaseUrl
  }
}

module receiver 'modules/receiver.bicep' = {
  name: '${site}-receiver'
  params: {
    site: site
    location: location
    environmentId: environment.outputs.id
    pullIdentityId: puller.outputs.identityId
    registryServer: registry.outputs.server
    image: image
    settings: chosen
    sentryDsn: sentryDsn
    redisUrl: redisUrl
    eventSecrets: eventSecrets
    messageSecrets: messageSecrets
  }
}

module worker 'modules/worker.bicep' = {
  name: '${site}-worker'
  params: {
    site: site
    location: location
    environmentId: environment.outputs.id
    pullIdentityId: puller.outputs.identityId
    registryServer: registry.outputs.server
    image: image
    settings: chosen
    sentryDsn: sentryDsn
    maxWorkers: maxWorkers
    databaseUrl: databaseUrl
    redisUrl: redisUrl
    redisAddress: redisAddress
    redisPassword: redisPassword
    recipientKey: recipientKey
  }
}

module beat 'modules/beat.bicep' = {
  name: '${site}-beat'
  params: {
    site: site
    location: location
    environmentId: environment.outputs.id
    pullIdentityId: puller.outputs.identityId
    registryServer: registry.outputs.server
    image: image
    settings: chosen
    sentryDsn: sentryDsn
    databaseUrl: databaseUrl
    redisUrl: redisUrl
  }
}

module viewer 'modules/flower.bicep' = if (flower) {
  name: '${site}-flower'
  params: {
    site: site
    location: location
    environmentId: environment.outputs.id
    pullIdentityId: puller.outputs.identityId
    registryServer: registry.outputs.server
    image: image
    databaseUrl: databaseUrl
    redisUrl: redisUrl
    flowerAuth: flowerAuth
  }
}

module deadLetters 'modules/deadletters.bicep' = {
  name: '${site}-deadletters'
  params: {
    site: site
    location: location
    byIdentity: deadLettersByIdentity
  }
}

// After the receiver, by its address: a rotated secret is accepted before it is sent.
module events 'modules/events.bicep' = if (subscribe) {
  name: '${site}-events'
  params: {
    site: site
    communicationServiceName: communicationServiceName
    receiverUrl: receiver.outputs.url
    deliverySecret: trim(first(split(eventSecrets, ',')))
    deadLetterAccountId: deadLetters.outputs.accountId
    deadLetterContainer: deadLetters.outputs.container
    deadLetterIdentityId: deadLetters.outputs.identityId
    byIdentity: deadLettersByIdentity
  }
}

output receiverUrl string = receiver.outputs.url
output migrationJob string = migrate.outputs.name
output deadLetterAccount string = deadLetters.outputs.accountName
