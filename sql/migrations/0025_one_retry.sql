-- A job is retried once. Whoever asks again gets the job of the first retry.

ALTER TABLE jobs ADD COLUMN retry_number integer NOT NULL DEFAULT 1;
COMMENT ON COLUMN jobs.retry_number IS
    '1. Above 1: an older version of Darkroom made another retry of the same job before this one.';
UPDATE jobs SET retry_number = numbered.number
  FROM (SELECT id, row_number() OVER (PARTITION BY retry_of ORDER BY id) AS number
          FROM jobs WHERE retry_of IS NOT NULL) AS numbered
 WHERE jobs.id = numbered.id AND numbered.number > 1;
-- Only retries. `ON CONFLICT DO NOTHING` of an enqueue stops at it.
-- squawk-ignore require-concurrent-index-creation
CREATE UNIQUE INDEX jobs_one_retry ON jobs (retry_of, retry_number) WHERE retry_of IS NOT NULL;

CREATE FUNCTION darkroom_guard_retry() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    first jobs;
BEGIN
    SELECT * INTO first FROM jobs WHERE id = NEW.retry_of;
    IF first.finished_at IS NULL OR first.account_id <> NEW.account_id THEN
        RAISE EXCEPTION 'job % cannot be retried for account %: it is %, of account %',
            NEW.retry_of, NEW.account_id, first.state, first.account_id USING ERRCODE = 'DR001',
            HINT = 'Only an ended job is retried, at the cost of its own account.';
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION darkroom_guard_retry() IS
    'Trigger of jobs: only an ended job is retried, and its own account pays.';
CREATE TRIGGER jobs_retry_what_has_ended BEFORE INSERT ON jobs FOR EACH ROW
    WHEN (NEW.retry_of IS NOT NULL) EXECUTE FUNCTION darkroom_guard_retry();
