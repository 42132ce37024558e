package mdmtest

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/html"

	"github.com/gomdm/applemdm/profile"
)

// Page is a page in the web view of Setup Assistant.
type Page struct {
	URL    *url.URL
	Status int
	Body   []byte
	Form   *Form // the first of the page
}

// Form is a form of a page. Values are those of its fields; Fill changes them.
type Form struct {
	Action *url.URL
	Method string
	Values url.Values
}

// maxPages is how many pages a user looks at.
const maxPages = 20

// browse opens the web view and goes from page to page until the answer is a profile, or no page.
func (a *assistant) browse(ctx context.Context, message []byte) (*reply, error) {
	client, err := a.client(a.Assignment.WebURL)
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	cookies, err := newJar()
	if err != nil {
		return nil, fmt.Errorf("mdmtest: %w", err)
	}
	client.Jar = cookies
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		req.Header.Del("X-Apple-Aspen-Deviceinfo") // it is for the first request
		cookies.method = req.Method
		if len(via) > maxPages {
			return errors.New("too many redirects")
		}
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.Assignment.WebURL, nil)
	if err != nil {
		return nil, fmt.Errorf("mdmtest: %w", err)
	}
	maps.Copy(req.Header, a.d.cfg.Header)
	req.Header.Set("X-Apple-Aspen-Deviceinfo", base64.StdEncoding.EncodeToString(message))
	var page *url.URL
	for range maxPages {
		cookies.sends(req.Method, page)
		answer, err := a.do(client, req)
		if err != nil {
			return nil, err
		}
		a.report.Pages = append(a.report.Pages, answer.url.String())
		kind := answer.mediaType()
		switch {
		case answer.status == http.StatusOK && kind == profile.ContentType:
			return answer, a.sameDomain(answer.url)
		case kind != "text/html" && answer.status == http.StatusOK:
			return nil, answer.isProfile()
		}
		form := formOf(answer.url, answer.body)
		if kind != "text/html" || form == nil && answer.status != http.StatusOK { // the user comes no further
			return answer, nil
		}
		if req, err = a.submit(ctx, answer, form); err != nil {
			return nil, err
		}
		page = answer.url
	}
	return nil, errors.New("mdmtest: the web view comes to no end")
}

// submit sends the form of a page.
func (a *assistant) submit(ctx context.Context, answer *reply, form *Form) (*http.Request, error) {
	if form == nil {
		return nil, fmt.Errorf("mdmtest: %s is a page without a form", answer.url)
	}
	page := &Page{URL: answer.url, Status: answer.status, Body: answer.body, Form: form}
	if a.Fill != nil {
		if err := a.Fill(page); err != nil {
			return nil, err
		}
	}
	f := page.Form
	if f.Method == http.MethodGet {
		f.Action.RawQuery = f.Values.Encode()
		return http.NewRequestWithContext(ctx, http.MethodGet, f.Action.String(), nil)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.Action.String(), strings.NewReader(f.Values.Encode()))
	if err == nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", page.URL.Scheme+"://"+page.URL.Host)
	}
	return req, err
}

// sameDomain checks that a profile comes from a host that shares the last two labels with that of the web view's URL.
func (a *assistant) sameDomain(from *url.URL) error {
	first, err := url.Parse(a.Assignment.WebURL)
	if err != nil {
		return fmt.Errorf("mdmtest: %w", err)
	}
	if lastLabels(hostOf(first)) != lastLabels(hostOf(from)) {
		return fmt.Errorf("mdmtest: the profile comes from %s, which is not in the domain of %s", from.Hostname(), first.Hostname())
	}
	return nil
}

// lastLabels returns the part of a host that counts: an address is one whole.
func lastLabels(host string) string {
	if net.ParseIP(host) != nil {
		return host
	}
	labels := strings.Split(host, ".")
	return strings.Join(labels[max(0, len(labels)-2):], ".")
}

// formOf returns the first form of a page, nil if there is none.
func formOf(at *url.URL, body []byte) *Form {
	var form *Form
	for z := html.NewTokenizer(bytes.NewReader(body)); ; {
		kind := z.Next()
		if kind == html.ErrorToken {
			return form
		}
		if kind != html.StartTagToken && kind != html.SelfClosingTagToken && kind != html.EndTagToken {
			continue
		}
		token := z.Token()
		attr := map[string]string{}
		for _, one := range token.Attr {
			attr[one.Key] = one.Val
		}
		switch {
		case token.Data == "form" && kind == html.EndTagToken && form != nil:
			return form
		case token.Data == "form" && form == nil:
			action, err := at.Parse(attr["action"])
			if err != nil {
				return nil
			}
			form = &Form{Action: action, Method: strings.ToUpper(or(attr["method"], http.MethodGet)), Values: url.Values{}}
		case token.Data == "input" && form != nil && attr["name"] != "":
			form.Values.Set(attr["name"], attr["value"])
		}
	}
}
