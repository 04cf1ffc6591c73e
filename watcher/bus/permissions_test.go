package bus

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event/eventtest"
)

func createStream(t *testing.T, nc *nats.Conn, c jetstream.StreamConfig) {
	t.Helper()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = js.CreateStream(t.Context(), c)
	require.NoError(t, err)
}

// TestDocumentedUsersCanDoTheirWork: each on a real server with the document's configuration.
func TestDocumentedUsersCanDoTheirWork(t *testing.T) {
	s := newSite(t)
	s.start()
	b := openReady(t, s.busConfig())
	for _, data := range eventtest.All() { // reporter and rotator
		require.NoError(t, b.Publish(data))
		flushed(t, b)
	}
	require.Zero(t, b.Stats().Refused)
	require.Equal(t, eventtest.All(), replayed(t, b))

	requests, compromised := make(chan string, 10), make(chan string, 10)
	background(t, b.ReceiveRequests, func(_ context.Context, e event.Event) error { requests <- e.Subject; return nil })
	background(t, b.ReceiveCompromised, func(_ context.Context, e event.Event) error { compromised <- e.ID; return nil })
	receive(t, requests)

	viewer := s.dialServer(roleViewer)
	live, err := viewer.SubscribeSync(CompromisedSubject("prod"))
	require.NoError(t, err)
	require.NoError(t, viewer.Flush())
	responder, err := jetstream.New(s.dialServer(roleIncidentResponder))
	require.NoError(t, err)
	first := compromisedReport("stolen laptop")
	body, err := first.MarshalJSON()
	require.NoError(t, err)
	require.NoError(t, publishCompromised(t, responder, first))
	require.Equal(t, first.ID, receive(t, compromised))

	seen, err := live.NextMsg(soon)
	require.NoError(t, err)
	require.JSONEq(t, string(body), string(seen.Data))
	js, err := jetstream.New(viewer)
	require.NoError(t, err)
	stream, err := js.Stream(t.Context(), EventStream("prod"))
	require.NoError(t, err)
	kept, err := stream.GetLastMsgForSubject(t.Context(), "rotate-certs.v1.prod.ca.expiring._")
	require.NoError(t, err)
	require.Contains(t, string(kept.Data), "io.rotate-certs.ca.expiring.v1")

	require.Eventually(t, func() bool { return b.Stats().Handled == 2 }, soon, tick, "the rotator may acknowledge")
	_, err = responder.Publish(t.Context(), CompromisedSubject("prod"), []byte("{"))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return b.Stats().GivenUp == 1 }, soon, tick)
	settled(t, b, ConsumerCompromised)
}

// TestDocumentedUsersCanDoNothingElse tries everything as every user.
func TestDocumentedUsersCanDoNothingElse(t *testing.T) {
	s := newSite(t)
	s.start()
	b := openReady(t, s.busConfig())
	require.NoError(t, b.PutSummary(t.Context(), []byte(`{}`)))
	b.Close() // streams, consumers and the bucket are there
	events, queue := EventStream("prod"), CompromisedStream("prod")
	reporter, rotator, responder, viewer, fleet := roleReporter, roleRotator, roleIncidentResponder, roleViewer, roleFleet
	try := map[string][]string{ // who may
		"rotate-certs.v1.prod.certificate.compromised._":                    {rotator},
		"rotate-certs-compromised.v1.prod":                                  {responder},
		"rotate-certs-compromised.v1.other":                                 {},
		"rotate-certs-compromised.v2.prod":                                  {},
		"rotate-certs.v1.prod.unknown.type._":                               {},
		"rotate-certs.v1.other.rotation.requested._":                        {},
		"rotate-certs.v1.other.certificate.compromised._":                   {},
		"_INBOX_rotator.x":                                                  {},
		"_INBOX_reporter.x":                                                 {},
		"$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED." + events + ".rotator": {},
		"$JS.API.STREAM.NAMES":                                              {},
		"$JS.API.STREAM.CREATE.other":                                       {},
		"$JS.API.STREAM.CREATE." + events:                                   {rotator},
		"$JS.API.STREAM.MSG.GET." + events:                                  {viewer},
		"$JS.API.DIRECT.GET." + events:                                      {viewer},
		"$JS.API.STREAM.INFO." + events:                                     {reporter, rotator, viewer},
		"$JS.API.CONSUMER.DURABLE.CREATE." + events + ".rotator":            {},
		"$JS.API.CONSUMER.CREATE." + events:                                 {},
		"$JS.API.CONSUMER.CREATE." + events + ".x.rotate-certs.v1.prod.>":   {rotator},
		"$JS.API.CONSUMER.MSG.NEXT." + events + ".rotator":                  {rotator},
		"$JS.API.CONSUMER.CREATE." + queue + ".x.>":                         {},
		"$JS.API.CONSUMER.CREATE." + queue + ".compromised.>":               {rotator},
		"$JS.API.CONSUMER.DELETE." + queue + ".compromised":                 {},
		"$JS.API.CONSUMER.MSG.NEXT." + queue + ".compromised":               {rotator},
		"$JS.API.STREAM.CREATE." + queue:                                    {rotator},
		"$JS.API.STREAM.MSG.GET." + queue:                                   {viewer},
		"$JS.API.STREAM.INFO." + queue:                                      {rotator, viewer},
		"$JS.ACK." + events + ".rotator.1.1.1.1.0":                          {rotator},
		"$JS.ACK." + queue + ".compromised.1.1.1.1.0":                       {rotator},
		"$JS.ACK.hub.ACCOUNT." + queue + ".compromised.1.1.1.1.0":           {rotator},
		"$JS.API.CONSUMER.PAUSE." + events + ".rotator":                     {},

		"$KV.rotate-certs-clusters.prod":                                                          {reporter},
		"$KV.rotate-certs-clusters.other":                                                         {},
		"$JS.API.STREAM.CREATE.KV_rotate-certs-clusters":                                          {rotator},
		"$JS.API.STREAM.INFO.KV_rotate-certs-clusters":                                            {reporter, fleet},
		"rotate-certs-asked.v1.prod.prod":                                                         {fleet},
		"rotate-certs-asked.v1.other.prod":                                                        {fleet},
		"rotate-certs-asked.v1.prod.other":                                                        {},
		"rotate-certs-asked.v2.other.prod":                                                        {},
		"$JS.API.STREAM.INFO.rotations-asked-prod":                                                {rotator},
		"$JS.API.STREAM.CREATE.rotations-asked-prod":                                              {rotator},
		"$JS.API.CONSUMER.CREATE.rotations-asked-prod.asked.>":                                    {rotator},
		"$JS.API.CONSUMER.CREATE.rotations-asked-prod.x.>":                                        {},
		"$JS.API.CONSUMER.INFO.rotations-asked-prod.asked":                                        {rotator},
		"$JS.API.CONSUMER.MSG.NEXT.rotations-asked-prod.asked":                                    {rotator},
		"$JS.ACK.rotations-asked-prod.asked.1.1.1.1.0":                                            {rotator},
		"$JS.API.STREAM.MSG.GET.rotations-asked-prod":                                             {},
		"$JS.API.STREAM.MSG.GET.KV_rotate-certs-clusters":                                         {},
		"$JS.API.DIRECT.GET.KV_rotate-certs-clusters":                                             {},
		"$JS.API.DIRECT.GET.KV_rotate-certs-clusters.$KV.rotate-certs-clusters.other":             {fleet},
		"$JS.API.CONSUMER.CREATE.KV_rotate-certs-clusters":                                        {},
		"$JS.API.CONSUMER.CREATE.KV_rotate-certs-clusters.x.$KV.rotate-certs-clusters.>":          {},
		"$JS.API.CONSUMER.DURABLE.CREATE.KV_rotate-certs-clusters.x":                              {},
		"$JS.API.DIRECT.GET." + events + ".rotate-certs.v1.prod.rotation.requested._":             {viewer},
		"$JS.API.DIRECT.GET.rotate-certs-events-other.rotate-certs.v1.other.rotation.requested._": {},
	}
	for _, call := range []string{"UPDATE", "DELETE", "PURGE", "SNAPSHOT", "RESTORE", "MSG.DELETE"} {
		for _, name := range []string{events, queue, summaryStream, AskedStream("prod")} {
			try["$JS.API.STREAM."+call+"."+name] = []string{}
		}
	}
	for _, kind := range event.AllTypes() {
		subject := fmt.Sprintf("rotate-certs.v1.prod.%s._", kind)
		if _, there := try[subject]; !there {
			try[subject] = []string{publishingRole(kind)}
		}
	}
	for _, role := range allRoles() {
		t.Run(role, func(t *testing.T) {
			nc := s.dialServer(role)
			for subject, may := range try {
				require.NoError(t, nc.Publish(subject, []byte(`"nothing"`)))
				require.NoError(t, nc.Flush())
				err := nc.LastError()
				refused := err != nil && strings.Contains(err.Error(), `Publish to "`+subject+`"`)
				require.Equal(t, !slices.Contains(may, role), refused, "%s publishes to %s: %v", role, subject, err)
			}
			for _, subject := range []string{">", "_INBOX.>", "_INBOX_rotator.>", "_INBOX_reporter.>", "_INBOX_incident-responder.>", "$JS.>", "rotate-certs.v1.prod.>", "rotate-certs-compromised.v1.prod", "rotate-certs.>", "rotate-certs-compromised.>", "_INBOX_fleet.>", "$KV.>", "rotate-certs-asked.>", "rotate-certs-asked.v1.prod.prod"} {
				_, err := nc.SubscribeSync(subject)
				require.NoError(t, err)
				require.NoError(t, nc.Flush())
				err = nc.LastError()
				refused := err != nil && strings.Contains(err.Error(), `Subscription to "`+subject+`"`)
				may := subject == inboxPrefix+role+".>" || role == viewer && (subject == "rotate-certs.v1.prod.>" || subject == CompromisedSubject("prod"))
				require.Equal(t, !may, refused, "%s subscribes to %s: %v", role, subject, err)
			}
		})
	}
}

// TestRefusedEventDoesNotHoldUpOthers: the watcher with the credentials of an incident responder.
func TestRefusedEventDoesNotHoldUpOthers(t *testing.T) {
	s := newSite(t)
	s.start()
	c := s.busConfig()
	openReady(t, c).Close()
	c.Credentials = s.seeds[roleIncidentResponder]
	b := openReady(t, c)
	require.NoError(t, b.Publish(request("auto-1")))
	flushed(t, b)
	require.EqualValues(t, 1, b.Stats().Refused)
	require.Empty(t, replayed(t, b), "who may not ask for a rotation starts none")
}

func TestListenerHasTheSameUsers(t *testing.T) {
	s := newSite(t)
	users := "# some users\nincident-responder ann secret-of-ann\n\nviewer bob secret-of-bob\n"
	c := testConfig(t, func(c *Config) {
		c.Listen = &Listen{Address: "127.0.0.1:0", Users: writeFile(t, s.dir, "users", []byte(users))}
		c.Listen.TLS.Cert, c.Listen.TLS.Key = s.dir+"/tls.crt", s.dir+"/tls.key"
	})
	b := openReady(t, c)
	got := make(chan event.Event, 1)
	background(t, b.ReceiveCompromised, func(_ context.Context, e event.Event) error { got <- e; return nil })
	dial := func(options ...nats.Option) (*nats.Conn, error) {
		return nats.Connect("tls://"+b.embedded.server.Addr().String(), append(options, nats.RootCAs(s.dir+"/ca.crt"),
			nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))...)
	}
	for _, options := range [][]nats.Option{{}, {nats.UserInfo("ann", "guess")}, {nats.UserInfo(internalUser, "")}} {
		_, err := dial(options...)
		require.ErrorIs(t, err, nats.ErrAuthorization)
	}
	_, err := nats.Connect("nats://"+b.embedded.server.Addr().String(), nats.UserInfo("ann", "secret-of-ann"))
	require.Error(t, err, "without TLS nothing")

	e := compromisedReport("stolen")
	body, err := e.MarshalJSON()
	require.NoError(t, err)
	bob, err := dial(nats.UserInfo("bob", "secret-of-bob"))
	require.NoError(t, err)
	defer bob.Close()
	require.NoError(t, bob.Publish(CompromisedSubject("prod"), body))
	require.NoError(t, bob.Flush())
	require.ErrorIs(t, bob.LastError(), nats.ErrPermissionViolation)
	ann, err := dial(nats.UserInfo("ann", "secret-of-ann"))
	require.NoError(t, err)
	defer ann.Close()
	require.NoError(t, ann.Publish(CompromisedSubject("prod"), body))
	require.Equal(t, e.ID, receive(t, got).ID)
}

// TestListenerRequiresClientCertificates, where it is given a CA, of users too.
func TestListenerRequiresClientCertificates(t *testing.T) {
	s := newSite(t)
	c := testConfig(t, func(c *Config) {
		c.Listen = &Listen{Address: "127.0.0.1:0", Users: writeFile(t, s.dir, "users", []byte("incident-responder ann secret-of-ann\n"))}
		c.Listen.TLS = TLS{CA: s.dir + "/ca.crt", Cert: s.dir + "/tls.crt", Key: s.dir + "/tls.key"}
	})
	b := openReady(t, c)
	dial := func(options ...nats.Option) error {
		nc, err := nats.Connect("tls://"+b.embedded.server.Addr().String(), append(options, nats.RootCAs(s.dir+"/ca.crt"))...)
		if err == nil {
			nc.Close()
		}
		return err
	}
	shows := func(ca certstest.CA) nats.Option {
		pair := ca.Leaf(t, certstest.Name("ann"), certstest.Usages(x509.ExtKeyUsageClientAuth))
		return nats.ClientCert(writeFile(t, s.dir, "ann.crt", pair.CertPEM()), writeFile(t, s.dir, "ann.key", pair.KeyPEM(t)))
	}
	ann := nats.UserInfo("ann", "secret-of-ann")
	require.Error(t, dial(ann), "no certificate")
	require.Error(t, dial(ann, shows(certstest.NewCA(t, "another"))), "one of another CA")
	require.ErrorIs(t, dial(shows(s.ca)), nats.ErrAuthorization, "a certificate is no user")
	require.NoError(t, dial(ann, shows(s.ca)))
}

func TestUsersAreRefusedByLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "no user in it",
		"boss ann secret":            `line 1: unknown role "boss"`,
		"# x\nviewer ann":            `line 2: neither "ROLE NKEY"`,
		"viewer rotate-certs secret": `line 1: neither "ROLE NKEY"`,
		"viewer a secret\nincident-responder a b": `line 2: user "a" is listed twice`,
		"viewer ann secret and more x":            `line 1: neither`,
	} {
		_, _, err := parseUsers(text, "prod")
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "secret")
	}
}
