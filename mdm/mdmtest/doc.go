// Package mdmtest is a test kit: devices and an APNs that are not there.
//
// A [Device] does over the network what a real one does. It fetches an enrollment profile and checks its signature and
// content, makes a key and has it certified by SCEP (or unpacks a PKCS#12), sends Authenticate and TokenUpdate, connects
// when it is pushed, answers commands as its script says, renews its identity when it is told to install a new MDM
// profile, can be wiped, backed up and restored, and checks out.
//
//	apns, err := mdmtest.NewAPNs()
//	…
//	phone := mdmtest.NewDevice(mdmtest.Config{UDID: "00008030-0123456789AB", RootCAs: roots, APNs: apns})
//	err = phone.Enroll(ctx, "https://mdm.example.com/enroll.mobileconfig")
//	go phone.Run(ctx)
//
// An [APNs] is a server of real HTTP/2 with scripted answers; devices that were given it are woken by what it accepts.
//
// The package does not import testing, so that programs can be built with it, too.
package mdmtest
