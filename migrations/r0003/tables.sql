-- The results of each campaign, counted once and kept. Run again, this changes nothing.

-- What has been counted: how often each fact is true of a campaign, of how many people, and when first and last.
CREATE TABLE IF NOT EXISTS attribution_campaign_counts (
    source      text NOT NULL
                CONSTRAINT attribution_campaign_counts_source_check CHECK (source IN ('messages', 'deliveries', 'engagements')),
    campaign_id int NOT NULL,
    fact        text NOT NULL,
    times       bigint NOT NULL,
    people      bigint NOT NULL,
    waited      bigint NOT NULL,
    first_at    timestamptz,
    last_at     timestamptz,
    PRIMARY KEY (source, campaign_id, fact)
);

-- Whom `people` counts: each reader of a campaign once.
CREATE TABLE IF NOT EXISTS attribution_campaign_people (
    campaign_id int NOT NULL,
    fact        text NOT NULL,
    person      uuid NOT NULL,
    PRIMARY KEY (campaign_id, fact, person)
);

-- What has not been added to those two yet. The transaction that changes rows says here what that changes: it appends,
-- and so waits for nobody. `recount` stands for what cannot be added: everything of the campaign is to be counted again.
CREATE TABLE IF NOT EXISTS attribution_count_changes (
    id          bigserial PRIMARY KEY,
    source      text NOT NULL
                CONSTRAINT attribution_count_changes_source_check CHECK (source IN ('messages', 'deliveries', 'engagements')),
    campaign_id int NOT NULL,
    fact        text,
    times       bigint NOT NULL,
    waited      bigint NOT NULL,
    first_at    timestamptz,
    last_at     timestamptz,
    -- The rows whose readers may be new to the campaign.
    row_ids     bigint[],
    recount     boolean NOT NULL,
    -- The number of the transaction.
    changed_by  bigint NOT NULL
);
-- Few have an entry in either, and whoever asks reads only those, however many changes have gathered: which campaigns wait
-- for a recount, and which acts a transaction itself has attributed.
CREATE INDEX IF NOT EXISTS attribution_count_changes_recounts ON attribution_count_changes (source, campaign_id) WHERE recount;
CREATE INDEX IF NOT EXISTS attribution_count_changes_acts ON attribution_count_changes (changed_by) WHERE row_ids IS NOT NULL;
