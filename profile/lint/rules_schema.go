package lint

// schemaRules are those of package schema that can be broken by a profile, under its names.
var schemaRules = []Rule{
	{
		"schema-required", ScopeProfile, Error, "Required keys are there, and not empty.",
		"A device refuses the payload.",
		"Add the key.", schemaSource,
	},
	{
		"schema-type", ScopeProfile, Error, "Values are of their types.",
		"A device refuses the payload, or passes over the key.",
		"Use the type that the schema names.", schemaSource,
	},
	{
		"schema-enum", ScopeProfile, Error, "Values are of those that the key allows.",
		"A device refuses the payload, or passes over the key.",
		"Use a value of the list.", schemaSource,
	},
	{
		"schema-range", ScopeProfile, Error, "Numbers are in their ranges.",
		"A device refuses the payload, or uses another number.",
		"Use a number in the range.", schemaSource,
	},
	{
		"schema-format", ScopeProfile, Error, "Texts have the form that the key asks for.",
		"A device refuses the payload.",
		"Write the text in the form that the schema names.", schemaSource,
	},
	{
		"schema-combination", ScopeProfile, Error, "Keys and payloads go together.",
		"A device refuses the payload, or one of the keys has no effect.",
		"Add or remove keys as the finding says.", schemaSource,
	},
	{
		"schema-unknown", ScopeProfile, Warning, "Keys and payload types are in the schema.",
		"They may be misspelt, which devices pass over without a word, or newer than the schema here.",
		"Check the spelling, or switch the rule off for keys of your own.", schemaSource,
	},
	{
		"schema-platform", ScopeProfile, Error, "What a profile holds works on the platform of the target.",
		"A device refuses the payload, or passes over the key.",
		"Send it to other devices only.", schemaSource,
	},
	{
		"schema-version", ScopeProfile, Error, "What a profile holds works on the target's version of the system.",
		"An older device refuses the payload, or passes over the key.",
		"Wait for the update of the device, or leave it out.", schemaSource,
	},
	{
		"schema-removed", ScopeProfile, Error, "What a profile holds still works on the target.",
		"Apple took it out of the system.",
		"Use what replaced it.", schemaSource,
	},
	{
		"schema-deprecated", ScopeProfile, Warning, "What a profile holds is not on its way out.",
		"Apple advises against it and will remove it.",
		"Use what replaced it.", schemaSource,
	},
	{
		"schema-supervised", ScopeProfile, Error, "What needs supervision goes to supervised devices.",
		"Other devices refuse the payload, or pass over the key.",
		"Supervise the device by Automated Device Enrollment, or leave it out.", schemaSource,
	},
	{
		"schema-enrollment", ScopeProfile, Error, "The enrollment of the target is one that the payload needs.",
		"A Mac whose user has not approved the enrollment refuses the payload.",
		"Have the enrollment approved, or use Automated Device Enrollment.", schemaSource,
	},
	{
		"schema-channel", ScopeProfile, Error, "A payload goes to a channel that takes it.",
		"The device refuses it there.",
		"Send it to the other channel: that of the device, or of its user.", schemaSource,
	},
	{
		"schema-user-enrollment", ScopeProfile, Error, "A payload goes to a kind of enrollment that takes it.",
		"A device in User Enrollment belongs to its user, and refuses it.",
		"Leave it out there.", schemaSource,
	},
	{
		"schema-shared-ipad", ScopeProfile, Error, "A payload goes to Shared iPad only if that takes it.",
		"The device refuses it.",
		"Leave it out there.", schemaSource,
	},
	{
		"schema-ignored", ScopeProfile, Warning, "What a profile holds has an effect on the target.",
		"The device accepts it and does nothing.",
		"Leave it out there.", schemaSource,
	},
}
