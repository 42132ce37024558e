package ddm

import (
	"strings"

	"github.com/gomdm/applemdm/mdm"
)

// Endpoint is what a device asks of a server in a DeclarativeManagement message.
type Endpoint struct {
	Name       EndpointName
	Kind       Kind   // of EndpointDeclaration
	Identifier string // of EndpointDeclaration
}

// EndpointName is the first part of an endpoint.
type EndpointName string

// The endpoints. Apple: DeclarativeManagementRequest.
const (
	EndpointTokens           EndpointName = "tokens"
	EndpointDeclarationItems EndpointName = "declaration-items"
	EndpointDeclaration      EndpointName = "declaration"
	EndpointStatus           EndpointName = "status"
)

// ParseEndpoint reads an endpoint: "tokens", "declaration-items", "status", or "declaration/" with a kind and an identifier. The
// identifier is taken as it is, whatever is in it. The error is a Malformed one.
func ParseEndpoint(text string) (Endpoint, error) {
	const op = "ddm.ParseEndpoint"
	name, rest, more := strings.Cut(text, "/")
	switch e := EndpointName(name); {
	case !more && (e == EndpointTokens || e == EndpointDeclarationItems || e == EndpointStatus):
		return Endpoint{Name: e}, nil
	case !more || e != EndpointDeclaration:
		return Endpoint{}, mdm.Errorf(mdm.Malformed, op, "there is no endpoint %.40q", text)
	}
	kind, identifier, _ := strings.Cut(rest, "/")
	switch k := Kind(kind); k {
	case Activation, Asset, Configuration, Management:
		if identifier == "" || len(identifier) > MaxIdentifier {
			return Endpoint{}, mdm.Errorf(mdm.Malformed, op, "the identifier is empty, or longer than %d bytes", MaxIdentifier)
		}
		return Endpoint{Name: EndpointDeclaration, Kind: k, Identifier: identifier}, nil
	}
	return Endpoint{}, mdm.Errorf(mdm.Malformed, op, "there is no kind of declaration %.40q", kind)
}

// String is the endpoint as a device sends it.
func (e Endpoint) String() string {
	if e.Name != EndpointDeclaration {
		return string(e.Name)
	}
	return string(e.Name) + "/" + string(e.Kind) + "/" + e.Identifier
}
