// Package mdmtest is a test kit: devices, an APNs and an Apple Business Manager that are not there.
//
// A [Device] does over the network what a real one does. It fetches an enrollment profile and checks its signature and
// content, makes a key and has it certified by SCEP (or unpacks a PKCS#12), sends Authenticate and TokenUpdate, connects
// when it is pushed, answers commands as its script says, renews its identity when it is told to install a new MDM
// profile, can be wiped, backed up and restored, and checks out.
//
//	apns := mdmtest.NewAPNs()
//	defer apns.Close()
//	phone := mdmtest.NewDevice(mdmtest.Config{UDID: "00008030-0123456789AB", RootCAs: roots, APNs: apns})
//	err = phone.Enroll(ctx, "https://mdm.example.com/enroll.mobileconfig")
//	go phone.Run(ctx)
//
// It also enrolls over the air ([Device.EnrollOverTheAir]), under a certificate that a [BuiltInCA] in place of Apple's built
// into it, and reads profiles that are encrypted to an identity of its own. And it goes through Setup Assistant under a profile
// of Automated Device Enrollment ([Device.SetupAssistant]): it logs its user in by name and password or in a web view, updates
// itself first if it must, and waits until it is configured.
//
// On a DeclarativeManagement command it fetches tokens, manifest and what is new, judges predicates of one status item, keeps what
// is active ([Device.Active], [Device.Declared]) and reports how all of it stands, with the status items that are subscribed to.
// It does nothing that its configurations say, and downloads no assets.
//
// An [APNs] is a server of real HTTP/2 with scripted answers; devices that were given it are woken by what it accepts. It
// fails as Apple's does when it is told to: a push by its [PushAnswer], a connection or the whole service by methods of
// the APNs. What Apple takes but what may lose pushes is among its violations. [APNs.Totals] counts what became of any number
// of pushes. A [FeedbackService] is what Apple had before to tell of dead tokens.
//
// An [ABM] is Apple Business Manager with its web service: organizations, servers and their tokens, up to a million devices, sessions,
// cursors and profiles. It refuses what Apple refuses, does on demand what else Apple does ([ABMOddities]), and fails on demand
// ([ABMFaults]).
//
//	abm := mdmtest.NewABM()
//	defer abm.Close()
//	hq := abm.Server("Headquarters")
//	abm.AddMany(hq, 10_000)
//	file := abm.Token(hq, certificatePEM)       // what an administrator downloads
//	profile, ok := abm.Activate(mdmtest.ABMSerial(0)) // what a device gets from Apple when it is set up
//
// [ParseAssignment] reads that profile for [Device.SetupAssistant].
//
// The package does not import testing, so that programs can be built with it, too.
package mdmtest
