-- Runs of workflows. body is the whole run as JSON; the columns beside it are what is looked for.
CREATE TABLE mdm_runs (
	id         {key} NOT NULL PRIMARY KEY,
	enrollment {int} NOT NULL,
	tenant     {key} NOT NULL,
	workflow   {key} NOT NULL,
	version    {int} NOT NULL,  -- of the state
	status     {int} NOT NULL,
	step       {key} NOT NULL,
	slot       {hash} NOT NULL, -- hash of the enrollment and the key of a run that is not over, else of the id
	ended      {int} NOT NULL,  -- when it was over; 0: it is not
	due        {int} NOT NULL,  -- if somebody has it, when that ends; 9223372036854775807: it waits to be told, or is over
	body       {text} NOT NULL
){keyed};
CREATE UNIQUE INDEX mdm_runs_slot ON mdm_runs (slot);
CREATE INDEX mdm_runs_due ON mdm_runs (workflow, due, version);
CREATE INDEX mdm_runs_enrollment ON mdm_runs (enrollment, ended);
CREATE INDEX mdm_runs_ended ON mdm_runs (ended);
CREATE INDEX mdm_runs_step ON mdm_runs (workflow, status, step, tenant, id);
