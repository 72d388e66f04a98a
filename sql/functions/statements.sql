-- Where a period begins in the ledger of an account.

CREATE OR REPLACE FUNCTION darkroom_first_entry_at(of_account text, moment timestamptz)
RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    low   bigint := 0;
    high  bigint := (SELECT coalesce(max(id), 0) + 1 FROM public.ledger_entries
                      WHERE account_id = of_account);
    probe bigint;
    found record;
BEGIN
    -- Entries of an account are written one after the other, so their ids rise with time: each step
    -- halves what is left, by the index of the account. No index on the time is needed.
    WHILE low < high LOOP
        probe := low + (high - low) / 2;
        SELECT id, created_at INTO found FROM public.ledger_entries
         WHERE account_id = of_account AND id >= probe AND id < high ORDER BY id LIMIT 1;
        IF found.id IS NULL OR found.created_at >= moment THEN
            high := probe;
        ELSE
            low := found.id + 1;
        END IF;
    END LOOP;
    RETURN low;
END $$;
COMMENT ON FUNCTION darkroom_first_entry_at IS
    'The id from which on the entries of an account are at or after this moment: a period is the ids from one such id to the next, so that periods join without a gap.';
