-- Deletes what is no longer needed some days after the end of a job, in batches of short transactions.
-- The row of the job stays with its state, times, money and idempotency key, and so do its attempts, late
-- tasks and ledger entries: every sum over them is the same before and after, and no key orders twice. The functions are of the kind that
-- sql/functions/transitions.sql describes. They lock ended jobs, and skip those that others lock.

-- Which of these jobs still need what is stored with them: open ones, ends that are not announced, whose
-- webhook is not sent, images not copied, callback not handled, or task at Kie not settled.
CREATE OR REPLACE FUNCTION darkroom_needed_jobs(ids uuid[]) RETURNS SETOF uuid
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT job.id FROM jobs AS job
     WHERE job.id = ANY(ids)
       AND (job.finished_at IS NULL OR job.images_due_at IS NOT NULL
            OR EXISTS (SELECT FROM webhook_messages AS message
                        WHERE message.job_id = job.id AND message.state = 'pending')
            OR EXISTS (SELECT FROM late_tasks AS late
                        WHERE late.job_id = job.id
                          AND (late.outcome IS NULL OR late.in_doubt_since IS NOT NULL))
            OR EXISTS (SELECT FROM job_images AS image
                        WHERE image.job_id = job.id AND image.state = 'waiting')
            OR EXISTS (SELECT FROM job_attempts AS attempt JOIN callback_inbox AS callback USING (token)
                        WHERE attempt.job_id = job.id AND callback.handled_at IS NULL
                          -- Later, nobody handles it any more: it is left for people to see.
                          AND callback.received_at > now() - interval '1 hour'))
$$;
COMMENT ON FUNCTION darkroom_needed_jobs IS
    'Which of these jobs nothing may be pruned of.';

-- Deletes the links of images of these jobs, which have ended and whose request is pruned, and returns of
-- how many. A copy is sent to nobody any more; its row stays until the store has deleted the object.
CREATE OR REPLACE FUNCTION darkroom_erase_links(ids uuid[]) RETURNS bigint
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    erased bigint;
BEGIN
    DELETE FROM job_images
     WHERE job_id = ANY(ids) AND (state = 'failed' OR state = 'pruned' AND deleted_at IS NOT NULL);
    UPDATE job_images
       SET state = 'pruned', pruned_at = coalesce(pruned_at, now()), kie_url = '', url = '', sha256 = ''
     WHERE job_id = ANY(ids) AND state IN ('stored', 'pruned');
    UPDATE late_tasks SET result_urls = '{}', erased_at = now()
     WHERE job_id = ANY(ids) AND outcome = 'delivered' AND erased_at IS NULL;
    UPDATE jobs
       SET erased_at = now(), result_urls = '{}', late_result_urls = NULL, images = '[]', updated_at = now()
     WHERE id = ANY(ids) AND finished_at IS NOT NULL AND erased_at IS NULL;
    GET DIAGNOSTICS erased = ROW_COUNT;
    RETURN erased;
END $$;
COMMENT ON FUNCTION darkroom_erase_links IS
    'Deletes the links of images of ended jobs, for an erasure.';

-- Prunes one kind of data of jobs. The kind `jobs` includes the others. The kind `erasure` is for a person
-- that demands it: what `prompts` deletes, and every link of an image. Returns the jobs that are held back:
-- they are needed, or somebody else has locked them.
CREATE OR REPLACE FUNCTION darkroom_prune_jobs(kind text, ids uuid[], OUT held_back uuid[], OUT pruned bigint)
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    free    uuid[];
    changed bigint;
BEGIN
    free := ARRAY(SELECT job.id FROM jobs AS job
                   WHERE job.id = ANY(ids) AND job.finished_at IS NOT NULL
                   ORDER BY job.id FOR NO KEY UPDATE SKIP LOCKED);
    -- A statement of its own, so that it sees what was committed before the locks were taken.
    free := ARRAY(SELECT unnest(free) EXCEPT SELECT darkroom_needed_jobs(free));
    IF kind IN ('events', 'jobs') THEN
        -- By events of the last day, workers detect that Postgres has lost writes: `compare_event_mark`.
        free := ARRAY(SELECT unnest(free) EXCEPT
                      SELECT job_id FROM job_events
                       WHERE job_id = ANY(free) AND at > now() - interval '1 day');
    END IF;
    held_back := ARRAY(SELECT unnest(ids) EXCEPT SELECT unnest(free));
    pruned := 0;
    IF kind IN ('events', 'jobs') THEN
        DELETE FROM job_events WHERE job_id = ANY(free);
        GET DIAGNOSTICS changed = ROW_COUNT;
        pruned := pruned + CASE kind WHEN 'events' THEN changed ELSE 0 END;
    END IF;
    IF kind IN ('callbacks', 'jobs') THEN
        DELETE FROM callback_inbox USING job_attempts AS attempt
         WHERE attempt.job_id = ANY(free) AND callback_inbox.token = attempt.token
           AND handled_at IS NOT NULL;
        GET DIAGNOSTICS changed = ROW_COUNT;
        pruned := pruned + CASE kind WHEN 'callbacks' THEN changed ELSE 0 END;
    END IF;
    IF kind IN ('webhooks', 'jobs') THEN
        DELETE FROM webhook_messages WHERE job_id = ANY(free) AND state IN ('delivered', 'dead');
        GET DIAGNOSTICS changed = ROW_COUNT;
        pruned := pruned + CASE kind WHEN 'webhooks' THEN changed ELSE 0 END;
    END IF;
    IF kind IN ('prompts', 'jobs', 'erasure') THEN
        UPDATE jobs SET request = '{}', metadata = '{}', message = NULL, pruned_at = now(), updated_at = now()
         WHERE id = ANY(free) AND finished_at IS NOT NULL AND pruned_at IS NULL;
        GET DIAGNOSTICS changed = ROW_COUNT;
        pruned := pruned + CASE kind WHEN 'prompts' THEN changed ELSE 0 END;
        -- Kie's words may repeat the prompt.
        UPDATE job_attempts SET message = NULL WHERE job_id = ANY(free) AND message IS NOT NULL;
        UPDATE late_tasks SET answer = NULL WHERE job_id = ANY(free) AND answer IS NOT NULL;
        UPDATE job_images SET last_error = NULL WHERE job_id = ANY(free) AND last_error IS NOT NULL;
        UPDATE job_events SET detail = detail - 'message' WHERE job_id = ANY(free) AND detail ? 'message';
    END IF;
    IF kind = 'erasure' THEN
        pruned := darkroom_erase_links(free);
    END IF;
    IF kind = 'jobs' THEN
        -- A row of an image that is in the store is what its object is found by.
        DELETE FROM job_images WHERE job_id = ANY(free)
           AND (state = 'failed' OR state = 'pruned' AND deleted_at IS NOT NULL);
        UPDATE jobs
           SET reduced_at = now(), webhook_url = NULL, updated_at = now(),
               result_urls = CASE WHEN copied.is_kept AND erased_at IS NULL THEN result_urls ELSE '{}' END,
               images = CASE WHEN copied.is_kept AND erased_at IS NULL THEN images ELSE '[]' END
          FROM (SELECT one AS id, EXISTS (SELECT FROM job_images WHERE job_id = one) AS is_kept
                  FROM unnest(free) AS one) AS copied
         WHERE jobs.id = copied.id AND finished_at IS NOT NULL AND reduced_at IS NULL;
        GET DIAGNOSTICS pruned = ROW_COUNT;
    END IF;
END $$;
COMMENT ON FUNCTION darkroom_prune_jobs IS
    'Prunes one kind of data of ended jobs, and returns those that are held back.';

-- Erases prompts and links of images of accounts, as far as that was requested: the next batch of one
-- request. $1 how many jobs at most, $2 whose (null: anybody's). No row: nothing can be erased now. A call
-- is one short transaction.
CREATE OR REPLACE FUNCTION darkroom_continue_erasures(batch bigint, of_account text DEFAULT NULL)
RETURNS TABLE (account_id text, examined bigint, erased bigint, waiting bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    asked  prompt_erasures;
    ids    uuid[];
    result record;
BEGIN
    FOR asked IN
        SELECT * FROM prompt_erasures
         WHERE ended_at IS NULL AND (of_account IS NULL OR account_id = of_account)
         ORDER BY requested_at FOR UPDATE SKIP LOCKED
    LOOP
        IF asked.swept_at IS NULL THEN
            ids := ARRAY(SELECT ended.id
                           FROM unnest('{succeeded,failed,cancelled}'::text[]) AS in_state (state),
                                LATERAL (SELECT id FROM jobs
                                          WHERE jobs.account_id = asked.account_id
                                            AND jobs.state = in_state.state AND id > asked.swept_until
                                          ORDER BY id LIMIT batch) AS ended
                          ORDER BY ended.id LIMIT batch);
        ELSE
            ids := (asked.waiting)[:batch];
            -- Those examined go behind the others.
            asked.waiting := (asked.waiting)[batch + 1:];
            IF NOT EXISTS (SELECT unnest(ids) EXCEPT SELECT darkroom_needed_jobs(ids)) THEN
                IF cardinality(asked.waiting) > 0 THEN
                    UPDATE prompt_erasures SET waiting = asked.waiting || ids WHERE id = asked.id;
                END IF;
                CONTINUE;
            END IF;
        END IF;
        result := darkroom_prune_jobs(
            'erasure', ARRAY(SELECT id FROM jobs WHERE id = ANY(ids) AND created_at <= asked.requested_at));
        UPDATE prompt_erasures
           SET jobs = jobs + result.pruned,
               waiting = asked.waiting || result.held_back,
               swept_until = CASE WHEN asked.swept_at IS NULL
                                  THEN coalesce(ids[cardinality(ids)], asked.swept_until)
                                  ELSE asked.swept_until END,
               swept_at = CASE WHEN asked.swept_at IS NULL AND cardinality(ids) < batch THEN now()
                               ELSE asked.swept_at END,
               ended_at = CASE WHEN (asked.swept_at IS NOT NULL OR cardinality(ids) < batch)
                                    AND cardinality(asked.waiting || result.held_back) = 0
                               THEN now() END
         WHERE id = asked.id;
        CONTINUE WHEN result.pruned = 0 AND asked.swept_at IS NOT NULL;
        RETURN QUERY SELECT asked.account_id, cardinality(ids)::bigint, result.pruned,
                            cardinality(asked.waiting || result.held_back)::bigint;
        RETURN;
    END LOOP;
END $$;
COMMENT ON FUNCTION darkroom_continue_erasures IS
    'Erases prompts and links of images of jobs as far as that was requested, one batch per call, until it returns no row.';

-- Requests that the prompts of an account be erased: of its ended jobs by the calls that follow, of its
-- open jobs when they end. A repeated request includes the jobs since. Forgets its uploaded images, except
-- those that an open job names. by: who, as one of our programs states it. No row: no such account.
CREATE OR REPLACE FUNCTION darkroom_erase_prompts(of_account text, why text DEFAULT NULL, by jsonb DEFAULT NULL)
RETURNS TABLE (account_id text, requested_at timestamptz, waiting bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    open_ids uuid[];
    forgotten bigint;
    before   text[];
    asked    prompt_erasures;
BEGIN
    IF NOT EXISTS (SELECT FROM accounts WHERE id = of_account) THEN
        RETURN;
    END IF;
    open_ids := ARRAY(SELECT id FROM jobs
                       WHERE jobs.account_id = of_account
                         AND state IN ('queued', 'submitting', 'unknown', 'generating'));
    INSERT INTO prompt_erasures AS erasure (account_id, waiting) VALUES (of_account, open_ids)
        ON CONFLICT (account_id) WHERE ended_at IS NULL DO UPDATE
       SET requested_at = now(), swept_until = DEFAULT, swept_at = NULL, waiting = open_ids
    RETURNING * INTO asked;
    DELETE FROM files
     WHERE files.account_id = of_account AND NOT EXISTS (
               SELECT FROM jobs, LATERAL (
                      SELECT value #>> '{}' FROM jsonb_path_query(jobs.request, 'lax $.image_urls[*]') AS value
                       UNION ALL SELECT jobs.request ->> 'mask_url') AS image (url)
                WHERE jobs.id = ANY(open_ids) AND image.url = ANY(files.former_urls || files.url));
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    before := darkroom_enter_act(by, darkroom_readable_reason(why));
    PERFORM darkroom_write_audit_entry(
        'prompts_erased', 'prompt_erasures ' || asked.id, of_account, NULL, NULL,
        jsonb_build_object('open_jobs', cardinality(open_ids), 'files', forgotten));
    PERFORM darkroom_leave_act(before);
    RETURN QUERY SELECT of_account, asked.requested_at, cardinality(open_ids)::bigint;
END $$;
COMMENT ON FUNCTION darkroom_erase_prompts IS
    'Requests that the prompts of an account be erased. by: who, as one of our programs states it.';

-- The days after the end of a job, by kind. Refuses what would prune nothing or too much by mistake: a kind
-- that does not exist, and days that are no whole number of at least 1.
CREATE OR REPLACE FUNCTION darkroom_checked_days(days text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kept  CONSTANT jsonb := days::jsonb;
    known CONSTANT text[] := '{events,callbacks,webhooks,prompts,jobs}';
    one   record;
BEGIN
    FOR one IN SELECT key, value FROM jsonb_each_text(kept) LOOP
        IF one.key <> ALL(known) THEN
            RAISE EXCEPTION '% is no kind of data that is pruned; there are: %',
                quote_literal(left(one.key, 80)), array_to_string(known, ', ')
                USING ERRCODE = 'DR001', CONSTRAINT = 'what_is_pruned_is_kept_before';
        ELSIF (CASE WHEN one.value ~ '^[0-9]{1,5}$' THEN one.value::integer NOT BETWEEN 1 AND 36500
                    ELSE one.value IS NOT NULL END) THEN
            RAISE EXCEPTION '% are kept for a whole number of days from 1 to 36500, not %', one.key, one.value
                USING ERRCODE = 'DR001', CONSTRAINT = 'what_is_pruned_is_kept_before';
        END IF;
    END LOOP;
    RETURN kept;
END $$;
COMMENT ON FUNCTION darkroom_checked_days IS
    'The days of each kind that is pruned, or a refusal that names what is wrong.';

-- Prunes the next batch. `days` after the end of a job by kind (a JSON object with kinds of
-- retention_progress; a kind that is missing is kept for ever), how many jobs at most, whether to wait for
-- another process that prunes, and whether it is an act of a person, which is noted. Erasures that were
-- requested come first. The row returned says what was pruned and how many jobs were examined; no row:
-- nothing is left. A call is one short transaction.
CREATE OR REPLACE FUNCTION darkroom_prune_next(
    days text, batch bigint, waits boolean, is_act boolean, who jsonb
) RETURNS TABLE (kind text, examined bigint, pruned bigint, held_back bigint)
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    kept     CONSTANT jsonb := darkroom_checked_days(days);
    one      text;
    progress retention_progress;
    ended_before timestamptz;
    ids      uuid[];
    again    uuid[];
    last     record;
    result   record;
    before   text[];
BEGIN
    RETURN QUERY SELECT 'erasures', examined, erased, waiting FROM darkroom_continue_erasures(batch);
    IF FOUND THEN
        RETURN;
    END IF;
    FOREACH one IN ARRAY ARRAY['events', 'callbacks', 'webhooks', 'prompts', 'jobs'] LOOP
        CONTINUE WHEN kept ->> one IS NULL;
        ended_before := now() - make_interval(days => (kept ->> one)::integer);
        progress := NULL;
        IF waits THEN
            SELECT * INTO progress FROM retention_progress WHERE kind = one FOR UPDATE;
        ELSE
            SELECT * INTO progress FROM retention_progress WHERE kind = one FOR UPDATE SKIP LOCKED;
        END IF;
        CONTINUE WHEN progress.kind IS NULL;
        -- Nothing of it is read but the end of an index, unless something is left.
        SELECT array_agg(job.id) AS ids,
               (array_agg(job.finished_at ORDER BY job.finished_at DESC, job.id DESC))[1] AS finished_at,
               (array_agg(job.id ORDER BY job.finished_at DESC, job.id DESC))[1] AS id
          INTO last
          FROM (SELECT jobs.id, jobs.finished_at FROM jobs
                 WHERE jobs.finished_at >= progress.done_until AND jobs.finished_at < ended_before
                   AND (jobs.finished_at, jobs.id) > (progress.done_until, progress.last_id)
                 ORDER BY jobs.finished_at, jobs.id LIMIT batch) AS job;
        ids := coalesce(last.ids, '{}');
        -- Those held back are examined once in a run, with its last batch.
        again := CASE WHEN cardinality(ids) < batch THEN progress.held_back ELSE '{}' END;
        CONTINUE WHEN cardinality(ids) = 0
            AND NOT EXISTS (SELECT unnest(again) EXCEPT SELECT darkroom_needed_jobs(again));
        result := darkroom_prune_jobs(one, ids || again);
        CONTINUE WHEN cardinality(ids) = 0 AND cardinality(result.held_back) = cardinality(again);
        UPDATE retention_progress
           SET done_until = coalesce(last.finished_at, progress.done_until),
               last_id = coalesce(last.id, progress.last_id),
               held_back = CASE WHEN cardinality(again) > 0 THEN result.held_back
                                ELSE progress.held_back || result.held_back END
         WHERE kind = one;
        IF is_act AND result.pruned > 0 THEN
            before := darkroom_enter_act(who, NULL);
            PERFORM darkroom_write_audit_entry(
                'data_pruned', 'retention_progress ' || one, NULL, NULL, NULL,
                jsonb_build_object('kind', one, 'pruned', result.pruned,
                                   'ended_before', ended_before));
            PERFORM darkroom_leave_act(before);
        END IF;
        RETURN QUERY SELECT one, (cardinality(ids) + cardinality(again))::bigint, result.pruned,
                            cardinality(result.held_back)::bigint;
        RETURN;
    END LOOP;
END $$;
COMMENT ON FUNCTION darkroom_prune_next IS
    'Prunes what is older than its days, one batch per call, until it returns no row.';

CREATE OR REPLACE FUNCTION darkroom_prune(days text, batch bigint, by jsonb DEFAULT NULL)
RETURNS TABLE (kind text, examined bigint, pruned bigint, held_back bigint)
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT * FROM darkroom_prune_next(days, batch, true, true, by)
$$;
COMMENT ON FUNCTION darkroom_prune IS
    'For operators: prunes the next batch, and notes who did it: SELECT * FROM darkroom_prune(''{"events": 90}'', 500), until it returns no row. by: who, as one of our programs states it.';

-- No row as well where another process prunes.
CREATE OR REPLACE FUNCTION darkroom_prune_at_interval(days text, batch bigint)
RETURNS TABLE (kind text, examined bigint, pruned bigint, held_back bigint)
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT * FROM darkroom_prune_next(days, batch, false, false, NULL)
$$;
COMMENT ON FUNCTION darkroom_prune_at_interval IS
    'For workers: prunes the next batch, unless another process does.';

-- What the next calls of darkroom_prune() would prune, by kind. $1 days as there. It reads the jobs that are
-- old enough, and waits for nobody.
CREATE OR REPLACE FUNCTION darkroom_count_prunable(days text)
RETURNS TABLE (kind text, ended_before timestamptz, jobs bigint, rows bigint, held_back bigint,
               oldest_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    kept     CONSTANT jsonb := darkroom_checked_days(days);
    progress retention_progress;
    ids      uuid[];
BEGIN
    FOR progress IN SELECT * FROM retention_progress
                     ORDER BY array_position('{events,callbacks,webhooks,prompts,jobs}', kind) LOOP
        kind := progress.kind;
        CONTINUE WHEN kept ->> kind IS NULL;
        ended_before := now() - make_interval(days => (kept ->> kind)::integer);
        SELECT array_agg(job.id), min(job.finished_at) INTO ids, oldest_at
          FROM jobs AS job
         WHERE job.finished_at >= progress.done_until AND job.finished_at < ended_before
           AND (job.finished_at, job.id) > (progress.done_until, progress.last_id);
        ids := coalesce(ids, '{}') || progress.held_back;
        held_back := (SELECT count(*) FROM darkroom_needed_jobs(ids));
        ids := ARRAY(SELECT unnest(ids) EXCEPT SELECT darkroom_needed_jobs(ids));
        jobs := cardinality(ids);
        rows := CASE kind
            WHEN 'events' THEN (SELECT count(*) FROM job_events WHERE job_id = ANY(ids))
            WHEN 'callbacks' THEN (SELECT count(*) FROM job_attempts JOIN callback_inbox USING (token)
                                    WHERE job_id = ANY(ids) AND handled_at IS NOT NULL)
            WHEN 'webhooks' THEN (SELECT count(*) FROM webhook_messages
                                   WHERE job_id = ANY(ids) AND state IN ('delivered', 'dead'))
            WHEN 'prompts' THEN (SELECT count(*) FROM jobs AS job WHERE job.id = ANY(ids) AND pruned_at IS NULL)
            ELSE (SELECT count(*) FROM jobs AS job WHERE job.id = ANY(ids) AND reduced_at IS NULL) END;
        RETURN NEXT;
    END LOOP;
END $$;
COMMENT ON FUNCTION darkroom_count_prunable IS
    'What is older than its days, by kind, and how many jobs of that age are still needed.';

CREATE OR REPLACE FUNCTION darkroom_guard_retry() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    first jobs;
BEGIN
    -- The lock is for a prune at the same time: it comes before, and the retry is refused, or after.
    SELECT * INTO first FROM jobs WHERE id = NEW.retry_of FOR SHARE;
    IF first.finished_at IS NULL OR first.account_id <> NEW.account_id THEN
        RAISE EXCEPTION 'job % cannot be retried for account %: it is %, of account %',
            NEW.retry_of, NEW.account_id, first.state, first.account_id USING ERRCODE = 'DR001',
            HINT = 'Only an ended job is retried, at the cost of its own account.';
    END IF;
    IF first.pruned_at IS NOT NULL THEN
        RAISE EXCEPTION 'job % cannot be retried: its request was pruned at %', first.id,
            to_char(first.pruned_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS"Z"')
            USING ERRCODE = 'DR001', CONSTRAINT = 'a_pruned_job_is_not_retried',
            HINT = 'Enqueue the request as a new job.';
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION darkroom_guard_retry() IS
    'Trigger of jobs: only an ended job that still has its request is retried, and its own account pays.';
