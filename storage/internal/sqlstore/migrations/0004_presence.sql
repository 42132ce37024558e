-- The row of a channel's pushes stays when its push is sent, and tells of that. Then, and while the channel cannot be pushed,
-- nothing is due: due is 9223372036854775807. In the latter case again is when it would have been.
-- rest: none is due before. settled_at, outcome, status, reason, apns_id: of the last one. delivered_at: when APNs last accepted
-- one. failures: since then.
ALTER TABLE mdm_pushes ADD COLUMN rest {int} NOT NULL DEFAULT 0;
ALTER TABLE mdm_pushes ADD COLUMN settled_at {int} NOT NULL DEFAULT 0;
ALTER TABLE mdm_pushes ADD COLUMN outcome {int} NOT NULL DEFAULT 0;
ALTER TABLE mdm_pushes ADD COLUMN status {int} NOT NULL DEFAULT 0;
ALTER TABLE mdm_pushes ADD COLUMN reason {key} NOT NULL DEFAULT '';
ALTER TABLE mdm_pushes ADD COLUMN apns_id {key} NOT NULL DEFAULT '';
ALTER TABLE mdm_pushes ADD COLUMN delivered_at {int} NOT NULL DEFAULT 0;
ALTER TABLE mdm_pushes ADD COLUMN failures {int} NOT NULL DEFAULT 0;

-- Presence is 3 for who is gone. look_at is when to see whether a device is still there.
ALTER TABLE mdm_enrollments ADD COLUMN presence {int} NOT NULL DEFAULT 0;
ALTER TABLE mdm_enrollments ADD COLUMN presence_at {int} NOT NULL DEFAULT 0;
ALTER TABLE mdm_enrollments ADD COLUMN look_at {int} NOT NULL DEFAULT 0;
UPDATE mdm_enrollments SET presence = 3 WHERE state = 3 OR (state = 2 AND push_token IS NULL);
CREATE INDEX mdm_enrollments_look ON mdm_enrollments (look_at);
CREATE INDEX mdm_enrollments_presence ON mdm_enrollments (presence, tenant, device, usr);

-- Waves of pushes over many. Each step is one transaction that moves the wave on.
CREATE TABLE mdm_waves (
	id       {key} NOT NULL,
	tenant   {key} NOT NULL,
	filter   {text} NOT NULL, -- JSON
	rate     {int} NOT NULL,  -- a second
	begun_at {int} NOT NULL,
	moved_at {int} NOT NULL,  -- up to when its pace is used up
	ended_at {int} NOT NULL,  -- 0: under way
	canceled {int} NOT NULL,
	total    {int} NOT NULL,
	woken    {int} NOT NULL,
	done_row {int} NOT NULL,  -- the last enrollment that is done
	PRIMARY KEY (id, tenant)
){keyed};
CREATE INDEX mdm_waves_ended ON mdm_waves (ended_at);

-- What was said of the end of a credential.
CREATE TABLE mdm_reminders (
	credential {hash} NOT NULL PRIMARY KEY, -- hash of its name
	not_after  {int} NOT NULL,
	stage      {int} NOT NULL,
	told_at    {int} NOT NULL
){keyed};
