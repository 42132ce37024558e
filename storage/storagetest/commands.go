package storagetest

import (
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
)

// The commands that the cases queue.

func security() command.Command { return command.SecurityInfo{} }

func profiles() command.Command { return command.ProfileList{} }

func erase() command.Command { return command.EraseDevice{} }

func information(query string) command.Command {
	return command.DeviceInformation{Queries: []command.DeviceInformationQuery{command.DeviceInformationQuery(query)}}
}

func installProfile(payloadType string) command.Command {
	return command.InstallProfile{Payload: profileOf(payloadType)}
}

// report is an Idle report, for cases that call a store without the service.
func report(d *device, at time.Time) *command.Report {
	return &command.Report{ID: d.id, Channel: d.channel, Fingerprint: d.fingerprint(), Status: command.StatusIdle, Raw: []byte("idle"), At: at}
}

func admitted(*identity.Standing) identity.Verdict { return identity.Verdict{} }

// to is the order of a command for channels.
func to(c command.Command, devices ...*device) command.Order {
	return command.Order{Command: c, To: mdm.IDs(ids(devices)...)}
}
