package lint

// profileRules are about every profile. Those that profile.ValidatePayloads checks have its names.
var profileRules = []Rule{
	{
		"identifier", ScopeProfile, Warning, "The PayloadIdentifier is in reverse DNS form.",
		"A profile replaces the one of the same identifier; a name of your own domain meets nobody else's.",
		"Use a name as com.example.network.", topLevel,
	},
	{
		"unique", ScopeProfile, Error, "Identifiers and UUIDs of payloads differ within a profile.",
		"A device refuses the profile.",
		"Give each payload its own.", topLevel,
	},
	{
		"profile-expired", ScopeProfile, Warning, "The profile has not ended yet.",
		"A device removes a profile at its RemovalDate, and offers an update after its PayloadExpirationDate.",
		"Set a later date, or leave it out.", topLevel,
	},
	{
		"certificate", ScopeProfile, Error, "Certificate payloads hold certificates, and root payloads roots.",
		"A device refuses what is none; an intermediate that is marked as a root is not trusted as one.",
		"Use com.apple.security.pkcs1 for intermediates.", schemaSource,
	},
	{
		"certificate-expired", ScopeProfile, Error, "Certificates have not expired.",
		"What depends on the certificate does not work. If that is the connection to the server, the device is lost to it.",
		"Replace the certificate.", bestPractices,
	},
	{
		"certificate-expires", ScopeProfile, Warning, "Certificates do not expire soon.",
		"Devices that are away for a while would miss the replacement.",
		"Replace the certificate now, with the old one beside it if it is trusted.", bestPractices,
	},
	{
		"certificate-weak", ScopeProfile, Warning,
		"Certificates are signed with SHA-256 or better, and have RSA keys of 2048 bits or more.",
		"Apple's systems do not trust weaker ones for TLS.",
		"Issue the certificate again.", "Apple, Requirements for trusted certificates",
	},
	{
		"expiry-order", ScopeProfile, Warning, "The profile ends before the certificates in it.",
		"It would stay installed and not work.",
		"Set an earlier date, so that it is replaced in time.", bestPractices,
	},
	{
		"scep-pin", ScopeProfile, Error, "SCEP without TLS names the fingerprint of the authority.",
		"Anyone on the way could answer as the authority.",
		"Use an https URL, or set CAFingerprint.", schemaSource,
	},
	{
		"scep-challenge", ScopeProfile, Warning, "SCEP has a challenge.",
		"Anyone who can reach the authority could get a certificate.",
		"Give each device a challenge that serves once.", bestPractices,
	},
	{
		"scep-key", ScopeProfile, Warning, "SCEP asks for a key of 2048 bits or more.",
		"The default is 1024 bits, which is not safe any more.",
		"Set Keysize to 2048 or 4096.", schemaSource,
	},
	{
		"pkcs12", ScopeProfile, Error, "A PKCS#12 payload holds one.",
		"A device refuses an empty one.",
		"Put the identity into PayloadContent.", schemaSource,
	},
	{
		"password-clear", ScopeProfile, Warning, "The password of a PKCS#12 is not in a profile that can be read.",
		"Password and key are in one place, which files, logs and backups keep.",
		"Encrypt the profile to the device, or use ACME or SCEP, where the key never travels.", bestPractices,
	},
	{
		"account-password-clear", ScopeProfile, Info, "The password of an account is not in a profile that can be read.",
		"Files, logs and backups of the profile keep it. The schema says: use only with encrypted profiles.",
		"Encrypt the profile to the device, or have the user type the password.", schemaSource,
	},
	{
		"removal-password-clear", ScopeProfile, Warning, "A removal password is not in a profile that can be read.",
		"Whoever can read the profile can remove it.",
		"Encrypt the profile to the device.", ours,
	},
	{
		"one-account", ScopeProfile, Warning, "A profile holds one account at most.",
		"To change the password of one, the server would need the passwords of all.",
		"Split the profile: profile.Split, or the command split.", bestPractices,
	},
	{
		"declarations", ScopeProfile, Error, "com.apple.declarations is not installed by MDM.",
		"The payload belongs to declarative management, which has a command of its own.",
		"Send the command DeclarativeManagement.", schemaSource,
	},
	{
		"variable", ScopeProfile, Error, "No variable of a template is left.",
		"Devices know no variables; they would use the text as it stands.",
		"Put the value in its place before the profile is sent.", ours,
	},
}

// setRules are about what is on a device together.
var setRules = []Rule{
	{
		"set-identifier", ScopeSet, Error, "The profiles of a device and scope have different identifiers.",
		"A profile replaces the installed one of the same identifier.",
		"Give each profile its own identifier.", topLevel,
	},
	{
		"set-uuid", ScopeSet, Warning, "Payloads of different profiles have different UUIDs.",
		"They are meant to be unique in the world; what names one could get the other.",
		"Give each payload its own PayloadUUID.", topLevel,
	},
	{
		"set-mdm", ScopeSet, Error, "A device has one profile with a com.apple.mdm payload.",
		"A device is managed by one server and refuses a second.",
		"Keep the initial profile only.", mdmPayload,
	},
	{
		"set-single", ScopeSet, Warning, "Of a type that a device takes one of, there is one.",
		"Which of them holds is up to the device.",
		"Put the settings into one payload.", schemaSource,
	},
	{
		"pairing", ScopeSet, Info, "A capability comes with a restriction, and a restriction with a capability.",
		"Users keep a restriction for what they get with it, and lose both together.",
		"Put both into one profile (profile.Pair), or install the capability when the restriction is in force (profile.NewSequence).",
		bestPractices,
	},
	{
		"identity-shared", ScopeFleet, Error, "Each device has an identity of its own.",
		"One device could speak as the other, and neither can be shut out alone.",
		"Issue an identity for each device.", bestPractices,
	},
	{
		"challenge-shared", ScopeFleet, Warning, "Each device has a SCEP challenge of its own.",
		"Whoever gets hold of one profile can get certificates for other devices.",
		"Issue challenges that serve once.", bestPractices,
	},
}

// updateRules are about replacing an installed profile. They are those of profile.ValidateUpdate.
var updateRules = []Rule{
	{
		"update-identifier", ScopeUpdate, Error, "A profile keeps its PayloadIdentifier.",
		"It would be added beside the old one; a profile with the MDM payload is refused.",
		unchanged, bestPractices,
	},
	{
		"update-mdm", ScopeUpdate, Error, "The successor of a profile with an MDM payload has one, too.",
		"A device does not give up its management by an update.",
		"Add the payload, or remove the profile by RemoveProfile.", mdmPayload,
	},
	{
		"update-one-mdm", ScopeUpdate, Error, "The successor has one MDM payload.",
		refused,
		"Keep one.", mdmPayload,
	},
	{
		"update-topic", ScopeUpdate, Error, "Topic stays.",
		refused,
		unchanged, mdmPayload,
	},
	{
		"update-server-url", ScopeUpdate, Error, "ServerURL stays.",
		refused,
		unchanged, mdmPayload,
	},
	{
		"update-check-in-url", ScopeUpdate, Error, "CheckInURL stays; where it is absent, it is ServerURL.",
		refused,
		unchanged, mdmPayload,
	},
	{
		"update-apple-account", ScopeUpdate, Error, "AssignedManagedAppleID stays.",
		refused,
		unchanged, mdmPayload,
	},
	{
		"update-enrollment-mode", ScopeUpdate, Error, "EnrollmentMode stays.",
		refused,
		unchanged, mdmPayload,
	},
	{
		"update-app", ScopeUpdate, Error, "RequiredAppIDForMDM stays.",
		refused,
		unchanged, mdmPayload,
	},
	{
		"update-rights", ScopeUpdate, Error, "AccessRights get no further rights.",
		"The user allowed what he saw at enrollment; the device refuses more.",
		"Leave the new rights out; only a new enrollment can add them.", mdmPayload,
	},
	{
		"update-user-channels", ScopeUpdate, Error, "Per-user connections are neither added nor removed.",
		refused,
		unchanged, mdmPayload,
	},
	{
		"update-encrypted", ScopeUpdate, Warning, "Both profiles can be read.",
		"What is encrypted for a device cannot be compared.",
		"Compare the profiles before they are encrypted.", ours,
	},
}

// What many rules of updates have in common.
const (
	refused   = "The device refuses the update and keeps the old profile; only a new enrollment can change this."
	unchanged = "Use the value of the installed profile."
)
