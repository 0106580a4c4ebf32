// A site whose secrets come from the environment of who deploys: a pipeline, or a shell that read them from a vault.
using './main.bicep'

param site = 'north'
param registryName = 'exampleregistry'
param registryResourceGroup = 'shared'
param image = 'engagement-attribution:0.1.0'
param communicationServiceName = 'north-mail'
param redisAddress = 'north-redis.northeurope.redis.azure.net:10000'
param databaseUrl = readEnvironmentVariable('ATTRIBUTION_DATABASE_URL')
param redisPassword = readEnvironmentVariable('REDIS_PASSWORD')
param eventSecrets = readEnvironmentVariable('ATTRIBUTION_EVENT_SECRETS')
param messageSecrets = readEnvironmentVariable('ATTRIBUTION_MESSAGE_SECRETS')
param recipientKey = readEnvironmentVariable('ATTRIBUTION_RECIPIENT_KEY')
param sentryDsn = readEnvironmentVariable('ATTRIBUTION_SENTRY_DSN', '')

// The first deployment is without. Once /readyz answers 200: true.
param subscribe = false
