-- Keys begin with what is rare, so that no plan, whenever it was made, can seek by the tenant alone and read all that it has.
CREATE TABLE mdm_certificates_3 (
	tenant        {key} NOT NULL,
	fingerprint   {hash} NOT NULL,
	device        {key} NOT NULL,
	device_serial {text} NOT NULL,
	status        {int} NOT NULL,
	purpose       {int} NOT NULL,
	generation    {int} NOT NULL,
	serial        {text} NOT NULL,
	subject       {text} NOT NULL,
	not_before    {int} NOT NULL,
	not_after     {int} NOT NULL,
	issued_at     {int} NOT NULL,
	bound_at      {int} NOT NULL,
	retired_at    {int} NOT NULL,
	PRIMARY KEY (fingerprint, tenant)
){keyed};
INSERT INTO mdm_certificates_3 (tenant, fingerprint, device, device_serial, status, purpose, generation, serial, subject,
		not_before, not_after, issued_at, bound_at, retired_at)
	SELECT tenant, fingerprint, device, device_serial, status, purpose, generation, serial, subject,
		not_before, not_after, issued_at, bound_at, retired_at
	FROM mdm_certificates WHERE NOT EXISTS (SELECT 1 FROM mdm_certificates_3);
DROP TABLE IF EXISTS mdm_certificates;
ALTER TABLE mdm_certificates_3 RENAME TO mdm_certificates;
CREATE INDEX mdm_certificates_device ON mdm_certificates (device, tenant, status);

CREATE INDEX mdm_enrollments_serials ON mdm_enrollments (serial, tenant);
DROP INDEX mdm_enrollments_serial{on enrollments};

-- A command's place in a queue comes from a clock, with those before it in mind: so queuing writes no row but its own. Two
-- of one moment are told apart by their command.
CREATE TABLE mdm_history_3 (
	enrollment  {int} NOT NULL,
	seq         {int} NOT NULL,
	command     {int} NOT NULL,
	generation  {int} NOT NULL,
	state       {int} NOT NULL,
	priority    {int} NOT NULL,
	collapse    {key} NOT NULL,
	not_before  {int} NOT NULL,
	not_after   {int} NOT NULL,
	queued_at   {int} NOT NULL,
	sent_at     {int} NOT NULL,
	sends       {int} NOT NULL,
	deferred_at {int} NOT NULL,
	deferrals   {int} NOT NULL,
	finished_at {int} NOT NULL,
	note        {text} NOT NULL,
	digest      {hash}, -- SHA-256 of the report that finished it
	result      {blob}, -- that report, sealed
	PRIMARY KEY (enrollment, seq, command)
){keyed};
INSERT INTO mdm_history_3 (enrollment, seq, command, generation, state, priority, collapse, not_before, not_after, queued_at,
		sent_at, sends, deferred_at, deferrals, finished_at, note, digest, result)
	SELECT enrollment, seq, command, generation, state, priority, collapse, not_before, not_after, queued_at,
		sent_at, sends, deferred_at, deferrals, finished_at, note, digest, result
	FROM mdm_history WHERE NOT EXISTS (SELECT 1 FROM mdm_history_3);
DROP TABLE IF EXISTS mdm_history;
ALTER TABLE mdm_history_3 RENAME TO mdm_history;
CREATE UNIQUE INDEX mdm_history_command ON mdm_history (command, enrollment);
CREATE INDEX mdm_history_finished ON mdm_history (finished_at);

ALTER TABLE mdm_enrollments DROP COLUMN next_seq;

-- How many generations of devices have ended since the order began.
ALTER TABLE mdm_fanouts ADD COLUMN endings {int} NOT NULL DEFAULT 0;
-- Somebody else queues the same command, so its targets may have it already.
ALTER TABLE mdm_fanouts ADD COLUMN shared {int} NOT NULL DEFAULT 0;
-- Whoever begins an order holds this row, and whoever ends a generation shares it.
INSERT INTO mdm_leases (name, owner, leased) VALUES ('mdm_fanouts', '', 0) {keep name};
-- The last row of a filter that is done. Rows lie in this order, so a fleet is read from one end to the other.
ALTER TABLE mdm_fanouts ADD COLUMN done_row {int} NOT NULL DEFAULT 0;
