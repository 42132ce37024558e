-- Times are microseconds since 1970 in UTC; 0 is no time. Sealed columns hold what a storage.Sealer gave.

CREATE TABLE enrollments (
	id               INTEGER PRIMARY KEY,
	tenant           TEXT NOT NULL,
	device           TEXT NOT NULL,
	user             TEXT NOT NULL, -- '' on the device channel
	channel          INTEGER NOT NULL,
	state            INTEGER NOT NULL,
	generation       INTEGER NOT NULL,
	topic            TEXT NOT NULL,
	rights           INTEGER NOT NULL,
	info             TEXT NOT NULL, -- what the device said of itself, JSON
	serial           TEXT NOT NULL, -- hardware serial number, out of info
	short_name       TEXT NOT NULL,
	long_name        TEXT NOT NULL,
	arrival          TEXT NOT NULL,
	awaiting         INTEGER NOT NULL,
	push_token       BLOB,
	push_magic       TEXT NOT NULL,
	authenticated_at INTEGER NOT NULL,
	enrolled_at      INTEGER NOT NULL,
	token_updated_at INTEGER NOT NULL,
	ended_at         INTEGER NOT NULL,
	end_reason       TEXT NOT NULL,
	last_seen_at     INTEGER NOT NULL DEFAULT 0,
	auth_token       BLOB,                       -- a hash
	next_seq         INTEGER NOT NULL DEFAULT 0, -- of the queue
	erase_sent       INTEGER NOT NULL DEFAULT 0, -- the generation in which an EraseDevice was last sent
	UNIQUE (tenant, device, user)
) STRICT;
CREATE INDEX enrollments_serial ON enrollments (tenant, serial) WHERE serial <> '';

CREATE TABLE certificates (
	tenant        TEXT NOT NULL,
	fingerprint   BLOB NOT NULL,
	device        TEXT NOT NULL,
	device_serial TEXT NOT NULL,
	status        INTEGER NOT NULL,
	purpose       INTEGER NOT NULL,
	generation    INTEGER NOT NULL,
	serial        TEXT NOT NULL,
	subject       TEXT NOT NULL,
	not_before    INTEGER NOT NULL,
	not_after     INTEGER NOT NULL,
	issued_at     INTEGER NOT NULL,
	bound_at      INTEGER NOT NULL,
	retired_at    INTEGER NOT NULL,
	PRIMARY KEY (tenant, fingerprint)
) STRICT, WITHOUT ROWID;
CREATE INDEX certificates_device ON certificates (tenant, device, status);

CREATE TABLE denials (
	tenant      TEXT NOT NULL,
	device      TEXT NOT NULL, -- '' for a certificate
	fingerprint BLOB NOT NULL, -- x'' for a device
	reason      TEXT NOT NULL,
	PRIMARY KEY (tenant, device, fingerprint)
) STRICT, WITHOUT ROWID;

CREATE TABLE secrets (
	id         INTEGER PRIMARY KEY,
	enrollment INTEGER NOT NULL REFERENCES enrollments (id),
	subject    TEXT NOT NULL, -- UnlockToken, BootstrapToken
	generation INTEGER NOT NULL,
	stored_at  INTEGER NOT NULL,
	archived   INTEGER NOT NULL, -- when it was replaced or its generation ended; 0: the current one
	sealed     BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX secrets_current ON secrets (enrollment, subject) WHERE archived = 0;

CREATE TABLE commands (
	id           INTEGER PRIMARY KEY,
	tenant       TEXT NOT NULL,
	uuid         TEXT NOT NULL,
	request_type TEXT NOT NULL,
	traits       INTEGER NOT NULL,
	digest       BLOB NOT NULL,
	body         BLOB NOT NULL, -- sealed
	UNIQUE (tenant, uuid)
) STRICT;

-- What is open. What is finished is in history, so that the next command costs the same however long that gets.
CREATE TABLE queue (
	enrollment  INTEGER NOT NULL REFERENCES enrollments (id),
	priority    INTEGER NOT NULL,
	seq         INTEGER NOT NULL,
	command     INTEGER NOT NULL REFERENCES commands (id),
	traits      INTEGER NOT NULL,
	generation  INTEGER NOT NULL,
	state       INTEGER NOT NULL,
	collapse    TEXT NOT NULL,
	not_before  INTEGER NOT NULL,
	not_after   INTEGER NOT NULL,
	queued_at   INTEGER NOT NULL,
	sent_at     INTEGER NOT NULL DEFAULT 0,
	sends       INTEGER NOT NULL DEFAULT 0,
	deferred_at INTEGER NOT NULL DEFAULT 0,
	deferrals   INTEGER NOT NULL DEFAULT 0,
	relax       INTEGER NOT NULL, -- rules of Apple's schema that the order may break
	checked     INTEGER NOT NULL, -- digest of the target that the command was checked for
	PRIMARY KEY (enrollment, priority, seq)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX queue_command ON queue (command, enrollment);

CREATE TABLE history (
	enrollment  INTEGER NOT NULL REFERENCES enrollments (id),
	seq         INTEGER NOT NULL,
	command     INTEGER NOT NULL REFERENCES commands (id),
	generation  INTEGER NOT NULL,
	state       INTEGER NOT NULL,
	priority    INTEGER NOT NULL,
	collapse    TEXT NOT NULL,
	not_before  INTEGER NOT NULL,
	not_after   INTEGER NOT NULL,
	queued_at   INTEGER NOT NULL,
	sent_at     INTEGER NOT NULL,
	sends       INTEGER NOT NULL,
	deferred_at INTEGER NOT NULL,
	deferrals   INTEGER NOT NULL,
	finished_at INTEGER NOT NULL,
	note        TEXT NOT NULL,
	digest      BLOB, -- SHA-256 of the report that finished it
	result      BLOB, -- that report, sealed
	PRIMARY KEY (enrollment, seq)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX history_command ON history (command, enrollment);

CREATE TABLE asides (
	number INTEGER PRIMARY KEY AUTOINCREMENT,
	tenant TEXT NOT NULL,
	device TEXT NOT NULL,
	user   TEXT NOT NULL,
	at     INTEGER NOT NULL,
	status TEXT NOT NULL,
	uuid   TEXT NOT NULL,
	reason TEXT NOT NULL,
	raw    BLOB NOT NULL -- sealed
) STRICT;
CREATE INDEX asides_tenant ON asides (tenant, number);

CREATE TABLE pushes (
	enrollment INTEGER PRIMARY KEY REFERENCES enrollments (id),
	due        INTEGER NOT NULL,
	leased     INTEGER NOT NULL DEFAULT 0, -- in somebody's hands until then; 0: in nobody's
	next       INTEGER NOT NULL DEFAULT 0  -- when another is due that was asked for meanwhile; 0: none
) STRICT;
CREATE INDEX pushes_due ON pushes (due);

CREATE TABLE push_certificates (
	topic       TEXT PRIMARY KEY,
	certificate BLOB NOT NULL, -- PEM
	key         BLOB NOT NULL, -- sealed
	not_after   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
	seq    INTEGER PRIMARY KEY AUTOINCREMENT,
	tenant TEXT NOT NULL,
	device TEXT NOT NULL,
	user   TEXT NOT NULL,
	body   TEXT NOT NULL -- JSON
) STRICT;
CREATE INDEX events_tenant ON events (tenant, seq);
CREATE INDEX events_enrollment ON events (tenant, device, user, seq);

-- A consumer has been given every event up to its position, but for those of a backlog: an enrollment of which an earlier
-- event is in somebody's hands, or failed, waits from an event on, and holds up nobody else.
CREATE TABLE consumers (
	name     TEXT PRIMARY KEY,
	position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE deliveries (
	consumer TEXT NOT NULL,
	seq      INTEGER NOT NULL,
	tenant   TEXT NOT NULL,
	device   TEXT NOT NULL,
	user     TEXT NOT NULL,
	until    INTEGER NOT NULL, -- leased until then
	PRIMARY KEY (consumer, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE backlogs (
	consumer TEXT NOT NULL,
	tenant   TEXT NOT NULL,
	device   TEXT NOT NULL,
	user     TEXT NOT NULL,
	seq      INTEGER NOT NULL, -- the first event that waits
	PRIMARY KEY (consumer, tenant, device, user)
) STRICT, WITHOUT ROWID;

CREATE TABLE challenges (
	hash          BLOB PRIMARY KEY,
	tenant        TEXT NOT NULL,
	purpose       INTEGER NOT NULL,
	device        TEXT NOT NULL,
	device_serial TEXT NOT NULL,
	expires_at    INTEGER NOT NULL,
	key           BLOB, -- hash of the public key that was answered
	certificate   BLOB, -- the answer, DER
	spent         BLOB  -- hash of the public key that used it up
) STRICT, WITHOUT ROWID;

CREATE TABLE vault (
	name   TEXT PRIMARY KEY,
	sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;
