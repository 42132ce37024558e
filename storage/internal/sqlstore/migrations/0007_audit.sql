-- The audit log. Nothing in it is ever changed or deleted; the hashes of a tenant's rows are a chain.
CREATE TABLE mdm_audit (
	tenant   {key} NOT NULL,
	number   {int} NOT NULL, -- 1, 2, 3 … without gaps
	at       {int} NOT NULL,
	actor    {key} NOT NULL,
	action   {key} NOT NULL,
	reason   {text} NOT NULL,
	device   {key} NOT NULL, -- empty, and usr too: about no enrollment
	usr      {key} NOT NULL,
	details  {text} NOT NULL, -- JSON
	previous {hash} NOT NULL,
	hash     {hash} NOT NULL,
	PRIMARY KEY (tenant, number)
){keyed};

-- The last row of each tenant. Who appends has it locked.
CREATE TABLE mdm_audit_heads (
	tenant {key} NOT NULL PRIMARY KEY,
	number {int} NOT NULL,
	hash   {hash} NOT NULL
){keyed changing};
