-- The domain that a message goes to, where its mailer says so; in listmonk's database the subscriber does. No default, so no
-- row is touched.
ALTER TABLE azure_message_tracking ADD COLUMN IF NOT EXISTS recipient_domain text;
