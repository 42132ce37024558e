package checkin

import (
	"context"

	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
)

const typePlist = "application/xml; charset=UTF-8"

// ReturnToServiceReply says how a device returns to service after an erase (iOS 26). A false Enabled is a plain erase.
type ReturnToServiceReply struct {
	Enabled          bool
	WiFiProfile      []byte // needed without Ethernet
	MDMProfile       []byte // needed if the enrollment asks the user for something
	BootstrapToken   mdm.Secret
	RetryEnrollment  *bool
	PreserveDataPlan *bool
}

func plistReply(dict map[string]any) (*Reply, error) {
	body, err := plistx.MarshalIndent(dict)
	if err != nil {
		return nil, err
	}
	return &Reply{ContentType: typePlist, Body: body}, nil
}

func (s *Service) setBootstrapToken(r *Request, m *SetBootstrapToken) func(*Situation) (Plan, error) {
	return s.admitted(r, func(now *Situation, plan *Plan) {
		plan.BootstrapToken = &m.BootstrapToken
		e := r.event(mdm.EventSecretStored)
		e.Subject, e.Generation = "BootstrapToken", now.Device.Generation
		if m.BootstrapToken.IsZero() {
			e.Reason = "deleted by the device"
		}
		plan.Events = append(plan.Events, e)
	})
}

// getBootstrapToken answers with the stored token; without one, with an empty dictionary.
func (s *Service) getBootstrapToken(ctx context.Context, r *Request) (*Reply, error) {
	if err := s.apply(ctx, r, s.admitted(r, nil)); err != nil {
		return nil, err
	}
	dict := map[string]any{}
	if s.Escrow != nil {
		token, err := s.Escrow.BootstrapToken(ctx, r.ID.DeviceID(), "asked for by the device")
		if err != nil {
			return nil, err
		}
		putData(dict, "BootstrapToken", token.Reveal())
	}
	return plistReply(dict)
}

func (s *Service) declare(ctx context.Context, r *Request, m *DeclarativeManagement) (*Reply, error) {
	if err := s.apply(ctx, r, s.admitted(r, nil)); err != nil {
		return nil, err
	}
	if s.Declarative == nil {
		return nil, r.refused(mdm.Malformed, "declarative management is not served")
	}
	return s.Declarative.Declare(ctx, r.ID, m.Endpoint, m.Data)
}

func (s *Service) getToken(ctx context.Context, r *Request, m *GetToken) (*Reply, error) {
	if err := s.apply(ctx, r, s.admitted(r, nil)); err != nil {
		return nil, err
	}
	source := s.Tokens[m.TokenServiceType]
	if source == nil {
		return nil, r.refused(mdm.Malformed, "the TokenServiceType is not served")
	}
	token, err := source.Token(ctx, r.ID, m.TokenParameters)
	if err != nil {
		return nil, err
	}
	return plistReply(map[string]any{"TokenData": token.Reveal()})
}

func (s *Service) returnToService(ctx context.Context, r *Request) (*Reply, error) {
	if err := s.apply(ctx, r, s.admitted(r, nil)); err != nil {
		return nil, err
	}
	var answer ReturnToServiceReply
	if s.Returns != nil {
		var err error
		if answer, err = s.Returns.ReturnToService(ctx, r.ID); err != nil {
			return nil, err
		}
	}
	inner := map[string]any{"Enabled": answer.Enabled}
	putData(inner, "WiFiProfileData", answer.WiFiProfile)
	putData(inner, "MDMProfileData", answer.MDMProfile)
	putData(inner, "BootstrapToken", answer.BootstrapToken.Reveal())
	putTruth(inner, "ShouldRetryEnrollment", answer.RetryEnrollment)
	dict := map[string]any{"ReturnToService": inner}
	putTruth(dict, "PreserveDataPlan", answer.PreserveDataPlan)
	return plistReply(dict)
}
