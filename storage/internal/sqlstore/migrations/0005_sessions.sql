-- Ways in that take more than one request.
CREATE TABLE mdm_sessions (
	id           {key} NOT NULL PRIMARY KEY,
	kind         {key} NOT NULL,
	tenant       {key} NOT NULL,
	usr          {key} NOT NULL,  -- who began it
	secret       {hash} NOT NULL, -- SHA-256 of what the device has to show
	state        {int} NOT NULL,
	device       {text} NOT NULL, -- what it said of itself, JSON
	built_in     {hash} NOT NULL, -- fingerprint of its own certificate, zeros: none yet
	identity     {hash} NOT NULL, -- of the certificate that the profile was last delivered for
	runs         {int} NOT NULL,
	begun_at     {int} NOT NULL,
	open_until   {int} NOT NULL,
	delivered_at {int} NOT NULL,
	update_from  {int} NOT NULL,
	keep_until   {int} NOT NULL   -- 0: for ever
){keyed};
CREATE INDEX mdm_sessions_keep ON mdm_sessions (keep_until);
