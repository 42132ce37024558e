package api_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/api"
	"github.com/gomdm/applemdm/storage/memory"
)

func ExampleNew() {
	h, err := api.New(api.Config{Stores: memory.New().Stores(), Tokens: []mdm.Secret{mdm.SecretString("out-of-your-secret-store")}})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("/v1/", h)

	r := httptest.NewRequest("POST", "/v1/commands?to=UDID", strings.NewReader(`{"RequestType": "SecurityInfo"}`))
	r.Header.Set("Authorization", "Bearer out-of-your-secret-store")
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	fmt.Println(w.Code, strings.Contains(w.Body.String(), `"outcome":"refused"`))
	// Output: 200 true
}
