package mdmtest

import (
	"fmt"
	"net/http"

	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/schema"
)

// document returns what an answer says in JSON or in a property list, whichever its Content-Type says; nil if it is neither.
func (r *reply) document() map[string]any {
	var dict map[string]any
	var err error
	switch r.mediaType() {
	case "application/json":
		dict, err = schema.ParsePlainJSON(r.body)
	case "application/xml":
		err = plistx.Unmarshal(r.body, &dict)
	}
	if err != nil {
		return nil
	}
	return dict
}

// understand reads a document whose code is known. The error says what is missing or wrong.
func understand(dict map[string]any, into interface{ Schema() *schema.Object }) error {
	err := schema.Check(into.Schema(), dict, schema.Target{}).Of(schema.ShapeRules).Err()
	if err == nil {
		err = schema.DecodeTree(dict, into).Err()
	}
	if err != nil {
		return fmt.Errorf("mdmtest: a %d that the device does not understand: %w", http.StatusForbidden, err)
	}
	return nil
}

// comply does what a 403 asks for, if the device can.
func (a *assistant) comply(answer *reply) error {
	refused, dict := answer.refusal(), answer.document()
	refused.Code, _ = dict["code"].(string)
	refused.Message, _ = dict["message"].(string)
	if a.says == nil {
		a.says = map[string]any{}
	}
	switch {
	case refused.Code == enroll.ErrorSoftwareUpdateRequiredCode && a.CanUpdate:
		return a.update(dict)
	case refused.Code == enroll.ErrorPSSORequiredCode && a.CanPSSO:
		return a.singleSignOn(dict)
	case refused.Code == enroll.ErrorWatchPairingTokenMissingCode && a.PairingToken != nil:
		var asked enroll.ErrorWatchPairingTokenMissing
		if err := understand(dict, &asked); err != nil {
			return err
		}
		token, err := a.PairingToken(asked.Details.SecurityToken)
		a.says["PAIRING_TOKEN"] = token
		return err
	}
	return refused
}

func (a *assistant) update(dict map[string]any) error {
	var asked enroll.ErrorSoftwareUpdateRequired
	if err := understand(dict, &asked); err != nil {
		return err
	}
	to := asked.Details
	if a.Update != nil {
		if err := a.Update(to); err != nil {
			return err
		}
	}
	a.d.SetOSVersion(to.OSVersion)
	if to.BuildVersion != nil {
		a.says["VERSION"] = *to.BuildVersion
	}
	a.report.Updates = append(a.report.Updates, to.OSVersion)
	return nil
}

func (a *assistant) singleSignOn(dict map[string]any) error {
	var asked enroll.ErrorPSSORequired
	if err := understand(dict, &asked); err != nil {
		return err
	}
	if a.PSSO != nil {
		token, err := a.PSSO(asked.Details)
		if err != nil {
			return err
		}
		a.token = token
	}
	a.report.PSSO = true
	return nil
}
