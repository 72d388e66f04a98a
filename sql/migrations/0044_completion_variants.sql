-- How long a task takes depends on its variant as well: an image of 4K takes longer than one of 1K.
-- What was learned of models with variants is of all together, so it is learned again.

ALTER TABLE completion_times ADD COLUMN variant text NOT NULL DEFAULT '';
COMMENT ON COLUMN completion_times.variant IS
    'The variant of the price, such as the resolution. Empty where the price of the model has no variants.';
COMMENT ON TABLE completion_times IS
    'A sample of the completion times of the last minutes, a few hundred per model, task, quantity and variant, written by workers every few seconds. Polls are timed by them; safe to empty.';
DELETE FROM completion_times WHERE model IN (SELECT model FROM pricing WHERE variant <> '');
