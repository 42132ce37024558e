package apns

import (
	"net/http"

	"github.com/gomdm/applemdm/push"
)

// Reason is APNs' word for a refusal (Apple: "Handling notification responses from APNs"). [push.Result] has it as a
// string.
type Reason string

// The reasons that Apple documents.
const (
	ReasonBadCollapseID          Reason = "BadCollapseId"
	ReasonBadDeviceToken         Reason = "BadDeviceToken" // of the other environment, or no token at all
	ReasonBadExpirationDate      Reason = "BadExpirationDate"
	ReasonBadMessageID           Reason = "BadMessageId"
	ReasonBadPriority            Reason = "BadPriority"
	ReasonBadTopic               Reason = "BadTopic"
	ReasonDeviceTokenNotForTopic Reason = "DeviceTokenNotForTopic"
	ReasonDuplicateHeaders       Reason = "DuplicateHeaders"
	ReasonIdleTimeout            Reason = "IdleTimeout"
	ReasonInvalidPushType        Reason = "InvalidPushType"
	ReasonMissingDeviceToken     Reason = "MissingDeviceToken"
	ReasonMissingTopic           Reason = "MissingTopic"
	ReasonPayloadEmpty           Reason = "PayloadEmpty"
	ReasonTopicDisallowed        Reason = "TopicDisallowed"
	ReasonBadCertificate         Reason = "BadCertificate"
	ReasonBadCertificateEnv      Reason = "BadCertificateEnvironment"
	ReasonExpiredProviderToken   Reason = "ExpiredProviderToken"
	ReasonForbidden              Reason = "Forbidden"
	ReasonInvalidProviderToken   Reason = "InvalidProviderToken"
	ReasonMissingProviderToken   Reason = "MissingProviderToken" // APNs saw no client certificate
	ReasonUnrelatedKeyID         Reason = "UnrelatedKeyIdInToken"
	ReasonBadEnvironmentKeyID    Reason = "BadEnvironmentKeyIdInToken"
	ReasonBadPath                Reason = "BadPath"
	ReasonMethodNotAllowed       Reason = "MethodNotAllowed"
	ReasonExpiredToken           Reason = "ExpiredToken"
	ReasonUnregistered           Reason = "Unregistered"
	ReasonPayloadTooLarge        Reason = "PayloadTooLarge"
	ReasonTooManyTokenUpdates    Reason = "TooManyProviderTokenUpdates"
	ReasonTooManyRequests        Reason = "TooManyRequests" // to the same device token
	ReasonInternalServerError    Reason = "InternalServerError"
	ReasonServiceUnavailable     Reason = "ServiceUnavailable"
	ReasonShutdown               Reason = "Shutdown" // of the APNs server behind this connection
)

// Outcome returns what a refusal for this reason means; ok is false for a reason that is not documented.
func (r Reason) Outcome() (o push.Outcome, ok bool) {
	switch r {
	case ReasonBadDeviceToken, ReasonDeviceTokenNotForTopic, ReasonUnregistered, ReasonExpiredToken:
		return push.Invalid, true
	case ReasonIdleTimeout, ReasonTooManyRequests, ReasonTooManyTokenUpdates, ReasonInternalServerError, ReasonServiceUnavailable, ReasonShutdown:
		return push.Retry, true
	case ReasonBadCertificate, ReasonBadCertificateEnv, ReasonForbidden, ReasonExpiredProviderToken, ReasonInvalidProviderToken, ReasonMissingProviderToken,
		ReasonUnrelatedKeyID, ReasonBadEnvironmentKeyID:
		return push.BadCertificate, true
	case ReasonBadCollapseID, ReasonBadExpirationDate, ReasonBadMessageID, ReasonBadPriority, ReasonBadTopic, ReasonDuplicateHeaders, ReasonInvalidPushType,
		ReasonMissingDeviceToken, ReasonMissingTopic, ReasonPayloadEmpty, ReasonTopicDisallowed, ReasonBadPath, ReasonMethodNotAllowed, ReasonPayloadTooLarge:
		return push.Rejected, true
	}
	return 0, false
}

// outcomeOf decides by the reason if we know it, else by the class of the status.
func outcomeOf(status int, reason Reason) push.Outcome {
	if status == http.StatusOK {
		return push.Delivered
	}
	if o, ok := reason.Outcome(); ok && status >= 400 {
		return o
	}
	switch status {
	case http.StatusForbidden:
		return push.BadCertificate
	case http.StatusGone:
		return push.Invalid
	case http.StatusTooManyRequests, http.StatusRequestTimeout, http.StatusMisdirectedRequest, http.StatusTooEarly:
		return push.Retry
	}
	if status >= 400 && status < 500 {
		return push.Rejected
	}
	return push.Retry
}
