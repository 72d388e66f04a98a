-- The fair order of what waits. A queued job waits until it is chosen; only chosen jobs are delivered to
-- the workers. docs/decisions/0045 has the rule and why.

CREATE TABLE priority_turns (
    priority text PRIMARY KEY CHECK (priority IN ('high', 'normal', 'low')),
    weight   double precision NOT NULL CHECK (weight > 0),
    turn     double precision NOT NULL DEFAULT 0,
    served   double precision NOT NULL DEFAULT 0,
    account_clock double precision NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
COMMENT ON TABLE priority_turns IS
    'The shares of the priorities, and how far each has come. One row each. Who chooses jobs locks the first row, so that only one worker chooses at a time.';
COMMENT ON COLUMN priority_turns.priority IS 'As jobs.priority has it.';
COMMENT ON COLUMN priority_turns.weight IS
    'The share while others wait too: of 21 jobs, 16 are of high, 4 of normal and 1 of low priority.';
COMMENT ON COLUMN priority_turns.turn IS
    'Virtual time at which its next job is due. Each chosen job adds 1/weight.';
COMMENT ON COLUMN priority_turns.served IS 'Virtual time of its last chosen job.';
COMMENT ON COLUMN priority_turns.account_clock IS
    'The virtual time among its accounts: account_turns.turn of the last one chosen.';
INSERT INTO priority_turns (priority, weight) VALUES ('high', 16), ('normal', 4), ('low', 1);

CREATE TABLE account_turns (
    account_id text NOT NULL,
    priority   text NOT NULL,
    turn       double precision NOT NULL DEFAULT 0,
    moved_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (priority, account_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE account_turns IS
    'The accounts that have jobs waiting in each priority, and some that had. Rows come with jobs and go when none is queued.';
COMMENT ON COLUMN account_turns.account_id IS 'The account.';
COMMENT ON COLUMN account_turns.priority IS 'The priority of its jobs.';
COMMENT ON COLUMN account_turns.turn IS
    'Virtual time at which its next job is due. Each chosen job adds 1/accounts.weight. A value behind priority_turns.account_clock counts as that, so that no account saves up turns.';
COMMENT ON COLUMN account_turns.moved_at IS
    'When a job of it was last chosen, or when the row came. Of two with the same turn, the older one is first.';

CREATE TABLE chosen_jobs (
    job_id    uuid PRIMARY KEY,
    chosen_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);
COMMENT ON TABLE chosen_jobs IS
    'The queued jobs that have been handed to the workers, and are submitted next. The claim removes them.';
COMMENT ON COLUMN chosen_jobs.job_id IS 'The job.';
COMMENT ON COLUMN chosen_jobs.chosen_at IS 'When it was chosen.';

-- The queued jobs of one account and priority, in the order in which they are chosen.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX jobs_in_turn ON jobs (priority, account_id, due_at, id) WHERE state = 'queued';

INSERT INTO account_turns (account_id, priority)
SELECT DISTINCT account_id, priority FROM jobs WHERE state = 'queued';

-- They return one column more.
-- squawk-ignore ban-drop-function
DROP FUNCTION IF EXISTS darkroom_enqueue_job(
    uuid, text, text, text, integer, text, text, text, text, text, timestamptz, uuid, text);
-- squawk-ignore ban-drop-function
DROP FUNCTION IF EXISTS darkroom_enqueue_jobs(
    uuid[], text[], text[], text[], integer[], text[], text[], text[], text[], text[],
    timestamptz[], uuid[], text[]);
