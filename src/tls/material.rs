//! All that a configuration names for TLS, by listener and upstream. Control loads it; the snapshot hands it out.

use super::expiry::Expiry;
use super::{Client, MaterialError, Server, client};
use crate::config::{Config, UpstreamTls};
use std::collections::HashMap;
use std::sync::Arc;

/// Keys of the configuration, as `listener[0].tls.client_ca`, and what is wrong with the files that they name.
pub type Mistakes = Vec<(String, String)>;

/// What listeners and upstreams speak TLS with, by their names. Copies share it.
#[derive(Clone, Default, Debug)]
pub struct Material {
    servers: Arc<HashMap<String, Arc<Server>>>,
    clients: Arc<HashMap<String, Arc<Client>>>,
}

impl Material {
    /// Reads every file that a configuration names.
    ///
    /// # Errors
    /// What cannot be used: for each listener and each upstream the first file.
    pub fn load(config: &Config) -> Result<Self, Mistakes> {
        Self::default().successor(config)
    }

    /// The same for a configuration that comes after the one that this was made for. Tickets of a listener that keeps its name
    /// stay good ([`Server::successor`]).
    ///
    /// # Errors
    /// As for [`load`](Self::load); nothing has changed.
    pub fn successor(&self, config: &Config) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::new();
        let mut note = |table: String, error: &MaterialError| {
            mistakes.push((format!("{table}.tls.{}", error.key), error.message()));
        };
        let mut next = (HashMap::new(), HashMap::new());
        let mut renewed = Vec::new();
        for (at, listener) in config.listeners.iter().enumerate() {
            let Some(settings) = &listener.tls else {
                continue;
            };
            let made = match self.server(&listener.name) {
                Some(before) => before.successor(settings),
                None => Server::load(settings),
            };
            match made {
                Ok(server) => drop(next.0.insert(listener.name.clone(), Arc::new(server))),
                Err(error) => note(format!("listener[{at}]"), &error),
            }
        }
        for (at, upstream) in config.upstreams.iter().enumerate() {
            let Some(settings) = &upstream.tls else {
                continue;
            };
            match self.next_client(&upstream.name, settings, &mut renewed) {
                Ok(client) => drop(next.1.insert(upstream.name.clone(), client)),
                Err(error) => note(format!("upstream[{at}]"), &error),
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        for (client, read) in renewed {
            client.replace(read);
        }
        Ok(Self {
            servers: Arc::new(next.0),
            clients: Arc::new(next.1),
        })
    }

    /// The one that there is, if it was made for the same: an upstream whose client is another is another upstream. What is
    /// to be current in it is `renewed` when nothing else was refused.
    fn next_client(
        &self,
        name: &str,
        settings: &UpstreamTls,
        renewed: &mut Vec<(Arc<Client>, client::Loaded)>,
    ) -> Result<Arc<Client>, MaterialError> {
        match self.client(name) {
            Some(before) if before.is_for(settings) => {
                renewed.push((Arc::clone(before), before.read()?));
                Ok(Arc::clone(before))
            }
            Some(_) | None => Client::load(settings).map(Arc::new),
        }
    }

    /// Whether both are copies of one, or have nothing.
    pub fn is_same(&self, other: &Self) -> bool {
        let same = Arc::ptr_eq(&self.servers, &other.servers);
        let empty = self.servers.is_empty() && other.servers.is_empty();
        let same_clients = self.clients.len() == other.clients.len();
        (same || empty)
            && same_clients
            && self.clients().all(|(name, client)| {
                let its = other.client(name);
                its.is_some_and(|it| Arc::ptr_eq(it, client))
            })
    }

    /// What a listener speaks TLS with, if it does.
    pub fn server(&self, listener: &str) -> Option<&Arc<Server>> {
        self.servers.get(listener)
    }

    /// What is spoken to the backends of an upstream with, if TLS is.
    pub fn client(&self, upstream: &str) -> Option<&Arc<Client>> {
        self.clients.get(upstream)
    }

    /// Every listener that speaks TLS, by its name.
    pub fn servers(&self) -> impl Iterator<Item = (&str, &Arc<Server>)> {
        let all = self.servers.iter();
        all.map(|(name, server)| (name.as_str(), server))
    }

    /// Every upstream to which TLS is spoken, by its name.
    pub fn clients(&self) -> impl Iterator<Item = (&str, &Arc<Client>)> {
        let all = self.clients.iter();
        all.map(|(name, client)| (name.as_str(), client))
    }

    /// From when and until when each certificate is good, by listener and then as configured.
    pub fn expiries(&self) -> Vec<Expiry> {
        let mut servers: Vec<_> = self.servers().collect();
        servers.sort_unstable_by_key(|(name, _)| *name);
        let expiries = servers
            .into_iter()
            .map(|(name, server)| server.expiries(name));
        expiries.flatten().collect()
    }
}
