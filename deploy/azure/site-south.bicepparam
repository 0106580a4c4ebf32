// A site whose secrets come from Key Vault, and which may take more: it sends to more people.
using './main.bicep'

param site = 'south'
param registryName = 'exampleregistry'
param registryResourceGroup = 'shared'
param image = 'engagement-attribution:0.1.0'
param communicationServiceName = 'south-mail'
param redisAddress = 'south-redis.spaincentral.redis.azure.net:10000'
param databaseUrl = az.getSecret('00000000-0000-0000-0000-000000000000', 'south', 'south-vault', 'database-url')
param redisPassword = az.getSecret('00000000-0000-0000-0000-000000000000', 'south', 'south-vault', 'redis-password')
param eventSecrets = az.getSecret('00000000-0000-0000-0000-000000000000', 'south', 'south-vault', 'event-secrets')
param messageSecrets = az.getSecret('00000000-0000-0000-0000-000000000000', 'south', 'south-vault', 'message-secrets')
param recipientKey = az.getSecret('00000000-0000-0000-0000-000000000000', 'south', 'south-vault', 'recipient-key')
param flowerAuth = az.getSecret('00000000-0000-0000-0000-000000000000', 'south', 'south-vault', 'flower-auth')
param sentryDsn = az.getSecret('00000000-0000-0000-0000-000000000000', 'south', 'south-vault', 'sentry-dsn')
param flower = true
param maxWorkers = 8
param settings = {
  ATTRIBUTION_DRAIN_PROCESSES: '2'
}
param subscribe = false
