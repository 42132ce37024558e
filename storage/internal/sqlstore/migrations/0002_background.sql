-- Orders for many that are under way. Each chunk of targets is one transaction that moves the order on, so whoever goes on
-- with it, goes on where it stands.
CREATE TABLE mdm_fanouts (
	id           {int} NOT NULL PRIMARY KEY,
	tenant       {key} NOT NULL,
	uuid         {key} NOT NULL,
	request_type {text} NOT NULL,
	spec         {blob} NOT NULL, -- the order, sealed JSON
	begun_at     {int} NOT NULL,
	owner        {text} NOT NULL,
	leased       {int} NOT NULL,  -- in the owner's hands until then
	device       {key} NOT NULL,  -- the last target of a filter that is done
	usr          {key} NOT NULL,
	queued       {int} NOT NULL,
	collapsed    {int} NOT NULL,
	refused      {int} NOT NULL
){keyed};
CREATE INDEX mdm_fanouts_uuid ON mdm_fanouts (uuid);

-- The targets of an order for a list, as long as they are not done.
CREATE TABLE mdm_fanout_parts (
	fanout {int} NOT NULL,
	part   {int} NOT NULL,
	ids    {blob} NOT NULL, -- JSON
	PRIMARY KEY (fanout, part)
){keyed};

-- Work that one process at a time does.
CREATE TABLE mdm_leases (
	name   {key} NOT NULL PRIMARY KEY,
	owner  {text} NOT NULL,
	leased {int} NOT NULL -- until then
){keyed};

CREATE INDEX mdm_history_finished ON mdm_history (finished_at);
CREATE INDEX mdm_asides_at ON mdm_asides (at);
CREATE INDEX mdm_challenges_expires ON mdm_challenges (expires_at);
