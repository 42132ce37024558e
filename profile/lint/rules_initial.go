package lint

// initialRules are about the profile that enrolls a device. Those that profile.ValidateEnrollment checks have its names.
var initialRules = []Rule{
	{
		"basics-only", ScopeProfile, Error,
		"The initial profile holds certificates, one identity and the MDM payload, and nothing else.",
		"What comes with enrollment cannot be replaced or removed by command without enrolling anew.",
		"Install the payload in a profile of its own after enrollment. If the device cannot reach the server without this Wi-Fi network, allow its type explicitly.",
		bestPractices,
	},
	{
		"one-identity", ScopeProfile, Error, "The initial profile holds exactly one identity.",
		"The device proves with it who it is; with none it cannot, and with two it is not clear what proves what.",
		"Keep one payload of com.apple.security.acme, scep or pkcs12.", bestPractices,
	},
	{
		"one-mdm", ScopeProfile, Error, "The initial profile holds exactly one com.apple.mdm payload.",
		"A device is managed by one server.",
		"Keep one.", mdmPayload,
	},
	{
		"identity", ScopeProfile, Error, "IdentityCertificateUUID names the identity of the profile.",
		"The device has no certificate to enroll with otherwise.",
		"Set it to the PayloadUUID of the identity payload.", mdmPayload,
	},
	{
		"trust-first", ScopeProfile, Error, "Certificates come before the MDM payload.",
		"The device has to trust the server before it enrolls.",
		"Move the certificates to the front.", bestPractices,
	},
	{
		"payload-order", ScopeProfile, Warning, "Roots, intermediates, identity and MDM payload come in this order.",
		"Each payload can then rely on those before it.",
		"Sort the payloads.", bestPractices,
	},
	{
		"trust-chain", ScopeProfile, Warning, "The chain of an intermediate certificate is in the profile up to its root.",
		"A device does not trust a private authority by its intermediate alone.",
		"Add the issuer, or leave the intermediate out if its root is public.", bestPractices,
	},
	{
		"topic", ScopeProfile, Error, "Topic begins with com.apple.mgmt.",
		"A device takes pushes for such topics only.",
		"Use the UID in the subject of the push certificate.", mdmPayload,
	},
	{
		"push-topic", ScopeProfile, Error, "Topic is that of the push certificate.",
		"Pushes of the server would not reach the device, and the topic cannot be changed later.",
		"Use the UID in the subject of the push certificate.", mdmPayload,
	},
	{
		"url", ScopeProfile, Error, "Addresses of servers are URLs that devices use: https for MDM, http or https for SCEP.",
		"A device refuses other URLs.",
		"Give the full URL, as https://mdm.example.com/mdm.", mdmPayload,
	},
	{
		"rights", ScopeProfile, Error,
		"AccessRights hold at least one right, none that does not exist, and what each needs; in User Enrollment there are none.",
		"A device refuses the profile.",
		"2 needs 1, and 128 needs 64; leave the key out in User Enrollment.", mdmPayload,
	},
	{
		"account", ScopeProfile, Error, "An account-driven enrollment names its managed Apple Account.",
		"A device refuses an EnrollmentMode without AssignedManagedAppleID.",
		"Set AssignedManagedAppleID to the account that signed in.", mdmPayload,
	},
	{
		"check-out", ScopeProfile, Warning, "CheckOutWhenRemoved is true.",
		"The server does not learn otherwise that the profile was removed.",
		"Set it to true, and still expect devices that leave silently.", bestPractices,
	},
	{
		"pinning", ScopeProfile, Error, "Pinned certificates are in the profile.",
		"A device that finds none of its pins does not speak to the server.",
		"Add the certificate, or remove its UUID.", mdmPayload,
	},
	{
		"sign-message", ScopeProfile, Error, "SignMessage is true where a proxy ends TLS.",
		"The certificate of the device does not get through the proxy, so the server would have to believe what a message says of itself.",
		"Set SignMessage, or have the proxy pass on the certificate.", bestPractices,
	},
	{
		"sign-message-cost", ScopeProfile, Info, "SignMessage is false where TLS reaches the server.",
		"A signature adds about 2 kB to each message, and tells nothing that TLS does not.",
		"Leave SignMessage out, or name the host as behind a proxy.", bestPractices,
	},
	{
		"development-apns", ScopeProfile, Warning, "UseDevelopmentAPNS is false.",
		"Push certificates of Apple's portal are for the production environment; the device would never hear of them.",
		"Leave the key out.", mdmPayload,
	},
	{
		"mdm-user-scope", ScopeProfile, Error, "The MDM payload is not in a profile for a user.",
		"Management is the device's. User channels come with per-user connections.",
		"Set PayloadScope to System.", mdmPayload,
	},
}
