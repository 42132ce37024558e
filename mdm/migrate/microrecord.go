package migrate

import (
	"errors"

	"github.com/gomdm/applemdm/mdm"
)

// device reads a device of the list.
func (f file) device(_ string, value []byte) (r Record, ok bool) {
	d, err := decodeDevice(value)
	switch {
	case err != nil:
		return Record{Err: err}, true
	case d.udid == "":
		return Record{NotEnrolled: "known from Apple Business Manager only"}, true
	case string(f.get(bucketIndex, d.udid)) != d.uuid:
		return Record{NotEnrolled: "the list does not lead to this entry any more"}, true
	case f.blocked(d.udid):
		return Record{NotEnrolled: "blocked"}, true
	case !d.enrolled:
		return Record{NotEnrolled: "checked out, or in the middle of its enrollment"}, true
	}
	r.Err = f.fillDevice(&r, &d)
	return r, true
}

func (f file) fillDevice(r *Record, d *protoDevice) error {
	id, channel, err := mdm.Identifiers{UDID: d.udid}.Resolve("")
	if err != nil {
		return err
	}
	r.Enrollment = mdm.Enrollment{
		ID: id, Channel: channel, State: mdm.Enrolled, AwaitingConfiguration: d.awaiting,
		Device: mdm.Device{Name: d.name, Model: d.model, ModelName: d.modelName, ProductName: d.product, SerialNumber: d.serial,
			OSVersion: d.osVersion, BuildVersion: d.build, IMEI: d.imei, MEID: d.meid},
	}
	r.Commands = f.commands(r, d.udid)
	r.Certificates = f.certificate(r, d.udid)
	f.secrets(r, d)
	return f.fillPush(r, d.udid, protoPush{token: d.token, magic: d.magic, topic: d.topic})
}

func (f file) secrets(r *Record, d *protoDevice) {
	unlock, err := fromHex(d.unlockToken)
	if err != nil || len(unlock) > maxSecret {
		r.Problems = append(r.Problems, errors.New("the UnlockToken is not hexadecimal, or too long"))
	} else {
		r.UnlockToken = mdm.NewSecret(unlock)
	}
	if len(d.bootstrapToken) > maxSecret {
		r.Problems = append(r.Problems, errors.New("the bootstrap token is too long"))
	} else {
		r.BootstrapToken = mdm.NewSecret(d.bootstrapToken)
	}
}

// certificate returns the binding of a UDID, if there is one.
func (f file) certificate(r *Record, udid string) []mdm.Certificate {
	hash := f.get(bucketCert, udid)
	if hash == nil {
		return nil
	}
	c := mdm.Certificate{Status: mdm.CertificateActive}
	if copy(c.Fingerprint[:], hash) != len(c.Fingerprint) || len(hash) != len(c.Fingerprint) || c.Fingerprint.IsZero() {
		r.Problems = append(r.Problems, errors.New("the certificate's fingerprint is not a SHA-256"))
		return nil
	}
	return []mdm.Certificate{c}
}

// fillPush sets the push trifecta: from the bucket that MicroMDM pushes by, else from what is known otherwise. A topic that is
// nowhere is that of the push certificate.
func (f file) fillPush(r *Record, key string, otherwise protoPush) error {
	p := otherwise
	if value := f.get(bucketPush, key); value != nil {
		found, err := decodePush(value)
		if err != nil {
			return err
		}
		if found.token != "" {
			p = found
		}
	}
	if p.topic == "" {
		config, err := decodeConfig(f.get(bucketSettings, "config"))
		if err == nil {
			c, _ := loadPushCertificate(config.cert, config.key)
			p.topic = c.Topic
		}
	}
	token, err := fromHex(p.token)
	r.Enrollment.Topic, r.Enrollment.PushMagic, r.Enrollment.PushToken = p.topic, p.magic, token
	return err
}

// commands returns the queue of a key, without what is unreadable.
func (f file) commands(r *Record, key string) (out func(func(Command, error) bool)) {
	value := f.get(bucketQueue, key)
	if value == nil {
		return nil
	}
	if _, err := decodeQueue(value); err != nil {
		r.Problems = append(r.Problems, errors.New("the queue cannot be read"))
		return nil
	}
	return f.m.queue(key)
}

// push reads a push token that belongs to no device of the list and to no user.
func (f file) push(key string, _ []byte) (r Record, ok bool) {
	bound, kind := f.get(bucketCert, key) != nil, f.kindOfUser(key)
	switch {
	case f.listed(key) || kind == aUser:
		return Record{}, false
	case f.blocked(key):
		return Record{NotEnrolled: "blocked"}, true
	case kind == aFormerUser && !bound: // MicroMDM forgets the users of a device when another one logs in
		return Record{NotEnrolled: "a user whose device is not on record"}, true
	}
	ids := mdm.Identifiers{EnrollmentID: key}
	if bound || kind == aDevice { // certificates are bound to UDIDs only
		ids = mdm.Identifiers{UDID: key}
	}
	id, channel, err := ids.Resolve("")
	if err != nil {
		return Record{Err: err}, true
	}
	r.Enrollment = mdm.Enrollment{ID: id, Channel: channel, State: mdm.Enrolled}
	r.Commands = f.commands(&r, key)
	r.Certificates = f.certificate(&r, key)
	r.Err = f.fillPush(&r, key, protoPush{})
	return r, true
}

// What a key of the index of users is.
const (
	notIndexed  = iota
	aUser       // the UserID of one that the list of users has
	aDevice     // the UDID of the device of one
	aFormerUser // either, of one that was deleted
)

func (f file) kindOfUser(key string) int {
	uuid := f.get(bucketUserIdx, key)
	if uuid == nil {
		return notIndexed
	}
	value := f.get(bucketUsers, string(uuid))
	u, err := decodeUser(value)
	switch {
	case value == nil:
		return aFormerUser
	case err == nil && u.udid == key:
		return aDevice
	}
	return aUser // an unreadable one, too: it is said where users are read
}

// listed reports whether the list of devices has the UDID.
func (f file) listed(udid string) bool {
	value := f.get(bucketDevices, string(f.get(bucketIndex, udid)))
	if value == nil {
		return false
	}
	d, err := decodeDevice(value)
	return err != nil || d.udid == udid
}

func (f file) blocked(udid string) bool { return f.get(bucketBlocked, udid) != nil }

// user reads a user of a Mac. Accounts that an operator made, for the setup of Macs, are passed over.
func (f file) user(_ string, value []byte) (r Record, ok bool) {
	u, err := decodeUser(value)
	r.Enrollment.ID = mdm.EnrollmentID{Device: u.udid, User: u.id}
	switch {
	case err != nil:
		r.Err, r.Enrollment.ID.User = err, "?"
		return r, true
	case u.udid == "" || u.id == "":
		return Record{}, false
	case u.id == mdm.SharedIPadUserID:
		r.Err = errors.New("users of Shared iPads share one key there")
	case string(f.get(bucketUserIdx, u.id)) != u.uuid || f.get(bucketPush, u.id) == nil:
		r.NotEnrolled = "the user is not enrolled"
	case f.blocked(u.udid) || !f.enrolled(u.udid):
		r.NotEnrolled = "the device of this user is not enrolled"
	default:
		r.Err = f.fillUser(&r, &u)
	}
	return r, true
}

// enrolled reports whether a device may have users: it is enrolled, or deleted from the list.
func (f file) enrolled(udid string) bool {
	d, err := decodeDevice(f.get(bucketDevices, string(f.get(bucketIndex, udid))))
	return err != nil || d.enrolled || !f.listed(udid)
}

func (f file) fillUser(r *Record, u *protoUser) error {
	id, channel, err := mdm.Identifiers{UDID: u.udid, UserID: u.id, UserShortName: u.shortName, UserLongName: u.longName}.Resolve("")
	if err != nil {
		return err
	}
	r.Enrollment = mdm.Enrollment{ID: id, Channel: channel, State: mdm.Enrolled, UserShortName: u.shortName, UserLongName: u.longName}
	r.Commands = f.commands(r, u.id)
	return f.fillPush(r, u.id, protoPush{})
}
