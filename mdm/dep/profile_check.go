package dep

import (
	"net/url"
	"unicode/utf8"

	"github.com/gomdm/applemdm/mdm"
)

const (
	maxURL       = 2000
	maxCerts     = 100
	maxSkipItems = 500
)

// Check reports as a Malformed error what Apple would refuse, or take for something else. (Apple: Profile, and the errors of
// Define a Profile.)
func (p *Profile) Check() error {
	const op = "dep.Profile"
	for _, text := range []struct {
		what, value string
		max         int
	}{
		{"the name", p.Name, 125}, {"the department", p.Department, 125}, {"the telephone number of the support", p.SupportPhoneNumber, 50},
		{"the email address of the support", p.SupportEmailAddress, 250}, {"OrgMagic", p.OrgMagic, 256},
	} {
		if !utf8.ValidString(text.value) || utf8.RuneCountInString(text.value) > text.max {
			return mdm.Errorf(mdm.Malformed, op, "%s is no text of at most %d characters", text.what, text.max)
		}
	}
	if p.Name == "" {
		return mdm.Errorf(mdm.Malformed, op, "a profile needs a name")
	}
	if err := checkURL(op, "the URL", p.URL); err != nil {
		return err
	}
	if p.ConfigurationWebURL != "" {
		if err := checkURL(op, "the URL of the page", p.ConfigurationWebURL); err != nil {
			return err
		}
	}
	if p.IsMDMRemovable != nil && !*p.IsMDMRemovable && !p.IsSupervised {
		return mdm.Errorf(mdm.Malformed, op, "the management can be removed unless the device is supervised: IsMDMRemovable false needs IsSupervised")
	}
	if !isLetters(p.Language, 'a', 'z') || !isLetters(p.Region, 'A', 'Z') {
		return mdm.Errorf(mdm.Malformed, op, "a language has two small letters, as \"en\", a region two capital ones, as \"US\"")
	}
	return p.checkLists(op)
}

func (p *Profile) checkLists(op string) error {
	if len(p.AnchorCerts)+len(p.SupervisingHostCerts) > maxCerts || len(p.SkipSetupItems) > maxSkipItems || len(p.Devices) > MaxBatch {
		return mdm.Errorf(mdm.Malformed, op, "more than %d certificates, %d items of the Setup Assistant or %d devices", maxCerts, maxSkipItems, MaxBatch)
	}
	for _, certs := range [][]string{p.AnchorCerts, p.SupervisingHostCerts} {
		if _, err := DecodeCerts(certs); err != nil {
			return mdm.Errorf(mdm.Malformed, op, "a certificate is not in base64 of DER: %w", err)
		}
	}
	for _, item := range p.SkipSetupItems {
		if item == "" || !plain(item, maxName) {
			return mdm.Errorf(mdm.Malformed, op, "%q is no item of the Setup Assistant", printable(item))
		}
	}
	for _, serial := range p.Devices {
		if !IsSerial(serial) {
			return badSerial(op, serial)
		}
	}
	return nil
}

// checkURL reports that a URL is missing, or is none that devices go to.
func checkURL(op, what, s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || utf8.RuneCountInString(s) > maxURL {
		return mdm.Errorf(mdm.Malformed, op, "%s is none with https and at most %d characters", what, maxURL)
	}
	return nil
}

// isLetters reports whether s is empty, or two letters of a range.
func isLetters(s string, from, to byte) bool {
	return s == "" || len(s) == 2 && s[0] >= from && s[0] <= to && s[1] >= from && s[1] <= to
}

// The panes of the Setup Assistant that SkipSetupItems leaves out. Which OS has which pane changes with every version: a
// device passes over what it does not know. (Apple: SkipKeys.)
const (
	SkipAccessibility           = "Accessibility"
	SkipAccessibilityAppearance = "AccessibilityAppearance" // iOS 17
	SkipActionButton            = "ActionButton"
	SkipAndroid                 = "Android"
	SkipAppearance              = "Appearance"
	SkipAppleID                 = "AppleID"
	SkipAppStore                = "AppStore"
	SkipBiometric               = "Biometric"
	SkipCameraButton            = "CameraButton"
	SkipDeviceToDeviceMigration = "DeviceToDeviceMigration"
	SkipDiagnostics             = "Diagnostics"
	SkipDisplayTone             = "DisplayTone"
	SkipEnableLockdownMode      = "EnableLockdownMode"
	SkipFileVault               = "FileVault"
	SkipHomeButtonSensitivity   = "HomeButtonSensitivity"
	SkipICloudDiagnostics       = "iCloudDiagnostics"
	SkipICloudStorage           = "iCloudStorage"
	SkipIMessageAndFaceTime     = "iMessageAndFaceTime"
	SkipIntelligence            = "Intelligence"
	SkipKeyboard                = "Keyboard"
	SkipLiquidGlass             = "LiquidGlass" // OS 27
	SkipLocation                = "Location"
	SkipMessagingActivation     = "MessagingActivationUsingPhoneNumber"
	SkipMultitasking            = "Multitasking" // iOS 26
	SkipOnBoarding              = "OnBoarding"
	SkipOSShowcase              = "OSShowcase" // iOS 26, macOS 26.1
	SkipPasscode                = "Passcode"
	SkipPayment                 = "Payment"
	SkipPrivacy                 = "Privacy"
	SkipRestore                 = "Restore"
	SkipRestoreCompleted        = "RestoreCompleted"
	SkipSafety                  = "Safety"
	SkipSafetyAndHandling       = "SafetyAndHandling" // iOS 18.4
	SkipScreenSaver             = "ScreenSaver"
	SkipScreenTime              = "ScreenTime"
	SkipSIMSetup                = "SIMSetup"
	SkipSiri                    = "Siri"
	SkipSoftwareUpdate          = "SoftwareUpdate"
	SkipSpokenLanguage          = "SpokenLanguage"
	SkipTapToSetup              = "TapToSetup"
	SkipTermsOfAddress          = "TermsOfAddress"
	SkipTips                    = "Tips" // visionOS 26
	SkipTOS                     = "TOS"
	SkipTVHomeScreenSync        = "TVHomeScreenSync"
	SkipTVProviderSignIn        = "TVProviderSignIn"
	SkipTVRoom                  = "TVRoom"
	SkipUnlockWithWatch         = "UnlockWithWatch" // macOS 15
	SkipUpdateCompleted         = "UpdateCompleted"
	SkipWallpaper               = "Wallpaper"
	SkipWatchMigration          = "WatchMigration"
	SkipWebContentFiltering     = "WebContentFiltering"
	SkipWelcome                 = "Welcome"
	SkipZoom                    = "Zoom"
)
