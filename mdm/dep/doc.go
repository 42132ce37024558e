// Package dep is the server's side of Apple Business Manager and Apple School Manager: the web service of Automated Device
// Enrollment (once the Device Enrollment Program), which says which devices belong to an organization and gives them the
// profile that they find when they are set up.
//
// A [Client] makes the calls, with the token that an administrator has fetched from Apple for one server there. A [Syncer]
// keeps what Apple tells of the devices in a [Store] and loses none of it; an [Assigner] brings each device to the
// profile that it ought to have. What devices send then is answered by package ade, beside enroll.
package dep
