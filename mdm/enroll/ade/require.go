package ade

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/schema"
)

// Requirement is what a device must have done before it gets its profile. Each part is asked only of a device that says that
// it can do it and has not; any other goes on without it, so that none goes round in a circle. To turn away who does not fulfill
// it, return a Forbidden error instead. The zero value requires nothing.
type Requirement struct {
	// Update is the system that the device must have at least. It is asked of one with MDM_CAN_REQUEST_SOFTWARE_UPDATE that
	// tells an older OS_VERSION or, if Update has a BuildVersion, the same one and an older build. It comes again when it
	// has updated itself. One with a RequireBetaProgram is not asked of systems that do not know that key. What is no version as
	// "18.3.1", or no build as "22D72", would let everybody through, so it is an Internal error.
	Update *enroll.ErrorSoftwareUpdateRequiredDetails
	// PSSO is the Platform SSO that a Mac must set up first. It is asked of one with MDM_CAN_REQUEST_PSSO_CONFIG, which then
	// comes again without that key, and with a token for [Service.Bearer] (Apple: Implementing Platform SSO during device enrollment).
	// A Mac that cannot do it comes without both from the start: whether it may enroll is for Authenticate to say.
	PSSO *enroll.ErrorPSSORequiredDetails
	// PairingToken is asked of an Apple Watch without PAIRING_TOKEN: a UUID, the security-token of Apple's
	// com.apple.watch.pairing.token.missing, for the phone that it is paired with.
	PairingToken string

	Message     string // shown to the user; may be empty
	Description string // for the device's log; may be empty
}

// document is something that a 403 may have for its body.
type document interface{ Schema() *schema.Object }

// of returns what of it is asked of a device, nil if there is nothing.
func (q *Requirement) of(info *enroll.MachineInfo, platform schema.Platform) document {
	switch {
	case q.PairingToken != "" && platform == schema.WatchOS && info.PairingToken.IsZero():
		return &enroll.ErrorWatchPairingTokenMissing{Code: enroll.ErrorWatchPairingTokenMissingCode, Message: optional(q.Message),
			Description: optional(q.Description), Details: enroll.ErrorWatchPairingTokenMissingDetails{SecurityToken: q.PairingToken}}
	case q.Update != nil && schema.Or(info.MDMCanRequestSoftwareUpdate, false) && older(info, q.Update):
		return &enroll.ErrorSoftwareUpdateRequired{Code: enroll.ErrorSoftwareUpdateRequiredCode, Message: optional(q.Message),
			Description: optional(q.Description), Details: *q.Update}
	case q.PSSO != nil && schema.Or(info.MDMCanRequestPSSOConfig, false):
		return &enroll.ErrorPSSORequired{Code: enroll.ErrorPSSORequiredCode, Message: optional(q.Message),
			Description: optional(q.Description), Details: *q.PSSO}
	}
	return nil
}

// demand answers with what the device must do first, if there is something.
func (s *Service) demand(r *request, info *enroll.MachineInfo) error {
	if s.Require == nil {
		return nil
	}
	q, err := s.Require(r.ctx(), info)
	if err != nil {
		return ours(err)
	}
	target := schema.Target{Platform: schema.PlatformOf(&mdm.Device{ProductName: info.Product}), OSVersion: info.OSVersion}
	doc := q.of(info, target.Platform)
	if doc == nil {
		return nil
	}
	if update, ok := doc.(*enroll.ErrorSoftwareUpdateRequired); ok {
		if err := isComparable(&update.Details); err != nil {
			return err
		}
	}
	findings := enroll.Validate(doc, target)
	if err := findings.Of(schema.ShapeRules).Err(); err != nil {
		return mdm.Errorf(mdm.Internal, "ade.Require", "%w", err)
	}
	if err := findings.Err(); err != nil { // the flag says yes, but Apple says that this system does not know it
		r.note = "not required: " + err.Error()
		return nil
	}
	body, err := json.Marshal(doc)
	if err != nil {
		return mdm.Errorf(mdm.Internal, "ade.Require", "%w", err)
	}
	r.note = "required: " + doc.Schema().Type
	r.reply = reply{status: http.StatusForbidden, contentType: "application/json", body: body}
	return nil
}

// isComparable checks that there is something to compare the system of a device with.
func isComparable(details *enroll.ErrorSoftwareUpdateRequiredDetails) error {
	if !isVersion(details.OSVersion) {
		return mdm.Errorf(mdm.Internal, "ade.Require", "%q is no OSVersion", details.OSVersion)
	}
	if _, ok := parseBuild(schema.Or(details.BuildVersion, "")); details.BuildVersion != nil && !ok {
		return mdm.Errorf(mdm.Internal, "ade.Require", "%q is no BuildVersion", *details.BuildVersion)
	}
	return nil
}

// older reports whether a device has an older system than details ask for. One that does not say which it has would be asked
// again and again.
func older(info *enroll.MachineInfo, details *enroll.ErrorSoftwareUpdateRequiredDetails) bool {
	if info.OSVersion == "" || isComparable(details) != nil {
		return info.OSVersion != "" // of the vendor's mistake he hears
	}
	if n := schema.CompareVersions(info.OSVersion, details.OSVersion); n != 0 {
		return n < 0
	}
	has := info.Version
	if supplemental := schema.Or(info.SupplementalBuildVersion, ""); supplemental != "" {
		has = supplemental
	}
	build, ok := parseBuild(has)
	wanted, known := parseBuild(schema.Or(details.BuildVersion, ""))
	return ok && known && slices.Compare(build[:], wanted[:]) < 0
}

// isVersion reports whether s is numbers with dots between.
func isVersion(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if !isNumber(part) {
			return false
		}
	}
	return true
}

// isNumber reports whether s is a number that can be compared.
func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 31)
	return err == nil
}

// parseBuild reads a build as "22C152" or "22C5125e": a number, a letter, a number.
func parseBuild(s string) (parts [3]int, ok bool) {
	letter := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if letter <= 0 || s[letter] < 'A' || s[letter] > 'Z' {
		return parts, false
	}
	number := strings.TrimRightFunc(s[letter+1:], func(r rune) bool { return r >= 'a' && r <= 'z' })
	major, err := strconv.ParseUint(s[:letter], 10, 31)
	minor, err2 := strconv.ParseUint(number, 10, 31)
	return [3]int{int(major), int(s[letter]), int(minor)}, err == nil && err2 == nil
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
