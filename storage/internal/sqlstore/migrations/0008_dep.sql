-- Servers at Apple Business Manager. body is the whole server as JSON, without its secrets.
CREATE TABLE mdm_dep_servers (
	id      {serial}, -- never used twice
	tenant  {key} NOT NULL,
	name    {key} NOT NULL,
	deleted {int} NOT NULL,  -- 0, or the id: its records are being deleted, and the name is free
	body    {text} NOT NULL,
	sealed  {blob} NOT NULL  -- key pair and token; empty: there are none
){table};
CREATE UNIQUE INDEX mdm_dep_servers_name ON mdm_dep_servers (tenant, name, deleted);

-- Their devices. body is the whole record as JSON; the columns beside it are what is looked for. No two indexes begin with the same and
-- go on with the serial number: a planner that knows little of the table would take the wrong one.
CREATE TABLE mdm_dep_devices (
	server {int} NOT NULL,
	serial {key} NOT NULL,
	device {int} NOT NULL,  -- hash of the tenant and the serial number
	gone   {int} NOT NULL,
	due    {int} NOT NULL,  -- when its profile is to be assigned; 9223372036854775807: it is not
	round  {int} NOT NULL,
	body   {text} NOT NULL,
	PRIMARY KEY (server, serial)
){changing};
CREATE INDEX mdm_dep_devices_due ON mdm_dep_devices (server, due, serial, gone){while due};
CREATE INDEX mdm_dep_devices_device ON mdm_dep_devices (device);
