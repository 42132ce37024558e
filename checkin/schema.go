package checkin

import "github.com/gomdm/applemdm/mdm/schema"

// SchemaOf describes the keys of a check-in message and those of the answer to it, by Apple's schema. Both are nil if the
// schema does not know the message; reply is nil if it lists no keys. The schema lacks some keys that devices send, and the
// types of this package have those, too.
func SchemaOf(messageType string) (message, reply *schema.Object) {
	return schemas[messageType], replySchemas[messageType]
}
