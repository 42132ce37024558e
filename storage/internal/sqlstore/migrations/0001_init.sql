-- Times are microseconds since 1970 in UTC; 0 is no time. Sealed columns hold what a storage.Sealer gave.

CREATE TABLE mdm_enrollments (
	id               {id},
	tenant           {key} NOT NULL,
	device           {key} NOT NULL,
	usr              {key} NOT NULL, -- '' on the device channel
	channel          {int} NOT NULL,
	state            {int} NOT NULL,
	generation       {int} NOT NULL,
	topic            {text} NOT NULL,
	rights           {int} NOT NULL,
	info             {text} NOT NULL, -- what the device said of itself, JSON
	serial           {key} NOT NULL,  -- hardware serial number, out of info
	short_name       {text} NOT NULL,
	long_name        {text} NOT NULL,
	arrival          {text} NOT NULL,
	awaiting         {int} NOT NULL,
	push_token       {blob},
	push_magic       {text} NOT NULL,
	authenticated_at {int} NOT NULL,
	enrolled_at      {int} NOT NULL,
	token_updated_at {int} NOT NULL,
	ended_at         {int} NOT NULL,
	end_reason       {text} NOT NULL,
	last_seen_at     {int} NOT NULL DEFAULT 0,
	auth_token       {blob},                    -- a hash
	next_seq         {int} NOT NULL DEFAULT 0, -- of the queue
	erase_sent       {int} NOT NULL DEFAULT 0, -- the generation in which an EraseDevice was last sent
	UNIQUE (tenant, device, usr)
){changing};
CREATE INDEX mdm_enrollments_serial ON mdm_enrollments (tenant, serial);

CREATE TABLE mdm_certificates (
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
	PRIMARY KEY (tenant, fingerprint)
){keyed};
CREATE INDEX mdm_certificates_device ON mdm_certificates (tenant, device, status);

CREATE TABLE mdm_denials (
	tenant      {key} NOT NULL,
	device      {key} NOT NULL,  -- '' for a certificate
	fingerprint {hash} NOT NULL, -- empty for a device
	reason      {text} NOT NULL,
	PRIMARY KEY (tenant, device, fingerprint)
){keyed};

CREATE TABLE mdm_secrets (
	id         {id},
	enrollment {int} NOT NULL,
	subject    {key} NOT NULL, -- UnlockToken, BootstrapToken
	generation {int} NOT NULL,
	stored_at  {int} NOT NULL,
	archived   {int} NOT NULL, -- when it was replaced or its generation ended; 0: the current one
	sealed     {blob} NOT NULL
){table};
CREATE INDEX mdm_secrets_current ON mdm_secrets (enrollment, subject, archived);

-- The id is the beginning of a hash of tenant and UUID, so that a report finds its command without a look here.
CREATE TABLE mdm_commands (
	id           {int} NOT NULL PRIMARY KEY,
	tenant       {key} NOT NULL,
	uuid         {key} NOT NULL,
	request_type {text} NOT NULL,
	traits       {int} NOT NULL,
	digest       {hash} NOT NULL,
	body         {blob} NOT NULL -- sealed
){keyed};

-- What is open. What is finished is in history, so that the next command costs the same however long that gets.
CREATE TABLE mdm_queue (
	enrollment  {int} NOT NULL,
	priority    {int} NOT NULL,
	seq         {int} NOT NULL,
	command     {int} NOT NULL,
	traits      {int} NOT NULL,
	generation  {int} NOT NULL,
	state       {int} NOT NULL,
	collapse    {key} NOT NULL,
	not_before  {int} NOT NULL,
	not_after   {int} NOT NULL,
	queued_at   {int} NOT NULL,
	sent_at     {int} NOT NULL,
	sends       {int} NOT NULL,
	deferred_at {int} NOT NULL,
	deferrals   {int} NOT NULL,
	relax       {int} NOT NULL, -- rules of Apple's schema that the order may break
	checked     {int} NOT NULL, -- digest of the target that the command was checked for
	PRIMARY KEY (enrollment, priority, seq)
){keyed changing};
CREATE UNIQUE INDEX mdm_queue_command ON mdm_queue (command, enrollment);

CREATE TABLE mdm_history (
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
	PRIMARY KEY (enrollment, seq)
){keyed};
CREATE UNIQUE INDEX mdm_history_command ON mdm_history (command, enrollment);

CREATE TABLE mdm_asides (
	number {id},
	tenant {key} NOT NULL,
	device {key} NOT NULL,
	usr    {key} NOT NULL,
	at     {int} NOT NULL,
	status {text} NOT NULL,
	uuid   {text} NOT NULL,
	reason {text} NOT NULL,
	raw    {blob} NOT NULL -- sealed
){table};
CREATE INDEX mdm_asides_tenant ON mdm_asides (tenant, number);

CREATE TABLE mdm_pushes (
	enrollment {int} NOT NULL PRIMARY KEY,
	due        {int} NOT NULL,
	leased     {int} NOT NULL, -- in somebody's hands until then; 0: in nobody's
	again      {int} NOT NULL  -- when another is due that was asked for meanwhile; 0: none
){keyed};
CREATE INDEX mdm_pushes_due ON mdm_pushes (due);

CREATE TABLE mdm_push_certificates (
	topic       {key} NOT NULL PRIMARY KEY,
	certificate {blob} NOT NULL, -- PEM
	sealed      {blob} NOT NULL, -- the private key
	not_after   {int} NOT NULL
){keyed};

CREATE TABLE mdm_events (
	seq    {serial},
	tenant {key} NOT NULL,
	device {key} NOT NULL,
	usr    {key} NOT NULL,
	body   {text} NOT NULL -- JSON
){table};
CREATE INDEX mdm_events_tenant ON mdm_events (tenant, seq);
CREATE INDEX mdm_events_enrollment ON mdm_events (tenant, device, usr, seq);

-- A consumer has been given every event up to its position, but for those of a backlog and of a gap. An enrollment of
-- which an earlier event is in somebody's hands, or failed, waits from an event on, and holds up nobody else. A gap is a
-- stretch of numbers of which no event was there yet: its transaction may still commit.
CREATE TABLE mdm_consumers (
	name {key} NOT NULL PRIMARY KEY,
	pos  {int} NOT NULL
){keyed};
CREATE TABLE mdm_gaps (
	consumer {key} NOT NULL,
	low      {int} NOT NULL,
	high     {int} NOT NULL,
	since    {int} NOT NULL,
	PRIMARY KEY (consumer, low)
){keyed};
CREATE TABLE mdm_deliveries (
	consumer {key} NOT NULL,
	seq      {int} NOT NULL,
	leased   {int} NOT NULL, -- until then
	PRIMARY KEY (consumer, seq)
){keyed};
CREATE TABLE mdm_backlogs (
	consumer {key} NOT NULL,
	tenant   {key} NOT NULL,
	device   {key} NOT NULL,
	usr      {key} NOT NULL,
	seq      {int} NOT NULL, -- the first event that waits
	PRIMARY KEY (consumer, tenant, device, usr)
){keyed};

CREATE TABLE mdm_challenges (
	hash          {hash} NOT NULL PRIMARY KEY,
	tenant        {text} NOT NULL,
	purpose       {int} NOT NULL,
	device        {text} NOT NULL,
	device_serial {text} NOT NULL,
	expires_at    {int} NOT NULL,
	answered_key  {hash}, -- hash of the public key that was answered
	certificate   {blob}, -- the answer, DER
	spent         {hash}  -- hash of the public key that used it up
){keyed};

CREATE TABLE mdm_vault (
	name   {key} NOT NULL PRIMARY KEY,
	sealed {blob} NOT NULL
){keyed};
