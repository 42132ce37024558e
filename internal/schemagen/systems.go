package main

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

func (p *parser) support(n *yaml.Node) (support, error) {
	out := support{}
	err := p.each(n, func(platform string, v *yaml.Node) error {
		if !slices.Contains(platforms, platform) {
			return p.fail(v, "unknown system %q", platform)
		}
		s, err := p.system(v)
		out[platform] = s
		return err
	})
	return out, err
}

func (p *parser) system(n *yaml.Node) (*system, error) {
	s := &system{}
	truths := map[string]*string{
		"devicechannel": &s.deviceChannel, "userchannel": &s.userChannel, "supervised": &s.supervised, "requiresdep": &s.requiresDEP,
		"userapprovedmdm": &s.userApproved, "allowmanualinstall": &s.manual, "multiple": &s.multiple,
		"always-skippable": &s.skippable, "beta": &s.beta,
	}
	texts := map[string]*string{"introduced": &s.introduced, "deprecated": &s.deprecated, "removed": &s.removed, "accessrights": &s.rights}
	lists := map[string]*[]string{"allowed-enrollments": &s.enrollments, "allowed-scopes": &s.scopes}
	err := p.each(n, func(attr string, v *yaml.Node) (err error) {
		switch {
		case truths[attr] != nil:
			*truths[attr], err = p.truth(v)
		case texts[attr] != nil:
			*texts[attr] = v.Value
			if attr == "accessrights" && !slices.Contains(knownRights, v.Value) {
				err = p.fail(v, "unknown access right %q", v.Value)
			}
		case lists[attr] != nil:
			*lists[attr], err = p.words(v)
		case attr == "userenrollment":
			err = p.userEnrollment(s, v)
		case attr == "sharedipad":
			err = p.sharedIPad(s, v)
		default:
			err = p.fail(v, "unknown attribute %q of a system", attr)
		}
		return err
	})
	return s, err
}

// knownRights are the words that mdm/schema knows.
var knownRights = []string{
	"AllowInspection", "AllowInstallationRemoval", "AllowPasscodeRemovalAndLock", "DeviceLockAndRemovePasscode", "AllowDeviceErase",
	"AllowQueryDeviceInformation", "AllowQueryNetworkInformation", "AllowProvisioningInspection", "AllowProvisioningInstallationRemoval",
	"AllowQueryApplications", "QueryInstalledApps", "AllowQueryRestrictions", "AllowQuerySecurity", "AllowSettings", "AllowAppInstallation",
	"None", "n/a", "Special Case",
}

func (p *parser) mode(n *yaml.Node) (string, error) {
	word, err := p.oneOf(n, "allowed", "required", "forbidden", "ignored")
	return map[string]string{
		"allowed": "schema.Allowed", "required": "schema.Required", "forbidden": "schema.Forbidden", "ignored": "schema.Ignored",
	}[word], err
}

func (p *parser) userEnrollment(s *system, n *yaml.Node) error {
	return p.each(n, func(attr string, v *yaml.Node) (err error) {
		switch attr {
		case "mode":
			s.userEnrollment, err = p.mode(v)
		case "behavior":
		default:
			err = p.fail(v, "unknown attribute %q of userenrollment", attr)
		}
		return err
	})
}

func (p *parser) sharedIPad(s *system, n *yaml.Node) error {
	return p.each(n, func(attr string, v *yaml.Node) (err error) {
		switch attr {
		case "mode":
			s.sharedIPad, err = p.mode(v)
		case "devicechannel":
			s.sharedDevice, err = p.truth(v)
		case "userchannel":
			s.sharedUser, err = p.truth(v)
		case "allowed-scopes":
			s.sharedScopes, err = p.words(v)
		default:
			err = p.fail(v, "unknown attribute %q of sharedipad", attr)
		}
		return err
	})
}
