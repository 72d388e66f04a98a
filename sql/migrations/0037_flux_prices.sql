-- What Kie charges for flux1-kontext, and, until an admin says otherwise, what we charge. Kie prices
-- the tier Pro at 5 and Max at 10, and has no field that chooses one: the higher price holds.

SET LOCAL darkroom.reason = 'seeded';
SET LOCAL darkroom.confirm = 'yes';

INSERT INTO pricing (model, task, quantity, credits, provider_credits)
VALUES ('flux1-kontext', 'text-to-image', 1, 10, 10),
       ('flux1-kontext', 'image-to-image', 1, 10, 10);
