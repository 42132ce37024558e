package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

const (
	devicePath  = "/mdm"
	certHeader  = "Client-Cert" // RFC 9440
	typeCheckin = "application/x-apple-aspen-mdm-checkin"
	typeCommand = "application/x-apple-aspen-mdm; charset=UTF-8"

	uuidLength = 36
)

const plistHead = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
`

// message is a property list of strings and of raw elements, as "<true/>".
func message(pairs ...string) string {
	return plistHead + dict(pairs...) + "\n</plist>\n"
}

func dict(pairs ...string) string {
	var b strings.Builder
	b.WriteString("<dict>\n")
	for i := 0; i < len(pairs); i += 2 {
		value := pairs[i+1]
		if !strings.HasPrefix(value, "<") {
			value = "<string>" + value + "</string>"
		}
		fmt.Fprintf(&b, "\t<key>%s</key>\n\t%s\n", pairs[i], value)
	}
	return b.String() + "</dict>"
}

// header is that of a request with a body of this length.
func header(cert, contentType string, length int) []byte {
	return fmt.Appendf(nil, "PUT %s HTTP/1.1\r\nHost: mdm.example.com\r\nUser-Agent: MDM/1.0\r\nContent-Type: %s\r\n%s: :%s:\r\nContent-Length: %d\r\n\r\n",
		devicePath, contentType, certHeader, cert, length)
}

func request(cert, contentType, body string) []byte {
	return append(header(cert, contentType, len(body)), body...)
}

// queries are what every command here asks for: DeviceInformation is the command that servers send most.
var queries = []string{"UDID", "DeviceName", "OSVersion", "BuildVersion", "ModelName", "ProductName", "SerialNumber", "DeviceCapacity",
	"AvailableDeviceCapacity", "BatteryLevel", "IsSupervised", "WiFiMAC"}

// rawCommand is the command as a vendor would write it for NanoMDM. This library makes the same from its type.
func rawCommand(uuid string) []byte {
	asked := "<array><string>" + strings.Join(queries, "</string><string>") + "</string></array>"
	return []byte(message("Command", dict("RequestType", "DeviceInformation", "Queries", asked), "CommandUUID", uuid))
}

// acknowledged is a device's answer, in front of the UUID and behind it.
func acknowledged(id, serial string) (before, behind string) {
	const mark = "@"
	answers := dict("UDID", id, "DeviceName", "Phone", "OSVersion", "18.1", "BuildVersion", "22B83", "ModelName", "iPhone",
		"ProductName", "iPhone15,2", "SerialNumber", serial, "DeviceCapacity", "<real>128</real>",
		"AvailableDeviceCapacity", "<real>97.5</real>", "BatteryLevel", "<real>0.87</real>", "IsSupervised", "<true/>",
		"WiFiMAC", "f0:18:98:00:00:01")
	before, behind, _ = strings.Cut(message("CommandUUID", mark, "QueryResponses", answers, "Status", "Acknowledged", "UDID", id), mark)
	return before, behind
}

// commandUUID names a command: the round, its number in the round, and whose it is.
func commandUUID(round, number, device int) string {
	return fmt.Sprintf("%08X-%04X-4000-8000-%012X", round, number, device)
}

var errNoCommand = errors.New("the answer holds no command")

// uuidOf reads the CommandUUID of an answer.
func uuidOf(body []byte) (string, error) {
	_, rest, ok := bytes.Cut(body, []byte("<key>CommandUUID</key>"))
	if !ok {
		return "", errNoCommand
	}
	_, rest, _ = bytes.Cut(rest, []byte("<string>"))
	uuid, _, ok := bytes.Cut(rest, []byte("</string>"))
	if !ok {
		return "", errNoCommand
	}
	return string(uuid), nil
}
