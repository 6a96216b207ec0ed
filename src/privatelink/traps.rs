//! Every trap of Azure's private-link names, one test each, in all three clouds.

use super::catalogue::Catalogue;
use super::cloud::Cloud;
use super::placing::{Hint, Placement};
use crate::dns::Name;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn write(place: &Placement) -> String {
    let record = place.record.borrow().relative_to(place.zone.borrow());
    format!("{record} in {}", place.zone.to_string().trim_end_matches('.'))
}

fn place(cloud: Cloud, fqdn: &str, resource_type: &str, group_id: &str) -> String {
    let hint = Hint {
        resource_type: Some(resource_type).filter(|text| !text.is_empty()),
        group_id: Some(group_id).filter(|text| !text.is_empty()),
        beside: &[],
    };
    let place = Catalogue::builtin(cloud).place(name(fqdn).borrow(), hint);
    place.map_or("nowhere".to_owned(), |place| write(&place))
}

fn publicly(fqdn: &str) -> String {
    place(Cloud::Public, fqdn, "", "")
}

fn private_names(cloud: Cloud, fqdn: &str) -> Vec<String> {
    Catalogue::builtin(cloud).private_names(name(fqdn).borrow()).iter().map(write).collect()
}

fn public_names(cloud: Cloud, private: &str) -> Vec<String> {
    let names = Catalogue::builtin(cloud).public_names(name(private).borrow());
    names.iter().map(|name| name.to_string().trim_end_matches('.').to_owned()).collect()
}

/// `type group` and what follows from them, one a line: `fqdn -> record in zone`.
fn check(cloud: Cloud, script: &str) {
    let (mut resource_type, mut group_id) = ("", "");
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.split_once(" -> ") {
            Some((fqdn, expected)) => {
                assert_eq!(place(cloud, fqdn, resource_type, group_id), expected, "{fqdn}");
            }
            None => (resource_type, group_id) = line.split_once(' ').unwrap_or((line, "")),
        }
    }
}

#[test]
fn records_of_many_labels_keep_all_of_them() {
    check(
        Cloud::Public,
        "Microsoft.ContainerRegistry/registries registry
         contosoreg.azurecr.io -> contosoreg in privatelink.azurecr.io
         contosoreg.westus2.data.azurecr.io -> contosoreg.westus2.data in privatelink.azurecr.io
         Microsoft.Web/sites sites
         mywebapp.azurewebsites.net -> mywebapp in privatelink.azurewebsites.net
         mywebapp.scm.azurewebsites.net -> mywebapp.scm in privatelink.azurewebsites.net
         mywebapp2-a6gq.eastus-01.azurewebsites.net -> mywebapp2-a6gq.eastus-01 in privatelink.azurewebsites.net
         mywebapp2-a6gq.scm.eastus-01.azurewebsites.net -> mywebapp2-a6gq.scm.eastus-01 in privatelink.azurewebsites.net
         Microsoft.Web/sites sites-staging
         mywebapp-staging.azurewebsites.net -> mywebapp-staging in privatelink.azurewebsites.net
         Microsoft.EventGrid/topics topic
         orders.westeurope-1.eventgrid.azure.net -> orders.westeurope-1 in privatelink.eventgrid.azure.net
         Microsoft.Batch/batchAccounts batchAccount
         acct.westeurope.batch.azure.com -> acct.westeurope in privatelink.batch.azure.com
         Microsoft.Batch/batchAccounts nodeManagement
         1f2e.westeurope.service.batch.azure.com -> 1f2e.westeurope.service in privatelink.batch.azure.com
         Microsoft.DataFactory/factories dataFactory
         factory.westeurope.datafactory.azure.net -> factory.westeurope in privatelink.datafactory.azure.net
         Microsoft.Automation/automationAccounts Webhook
         5a6b.webhook.we.azure-automation.net -> 5a6b.webhook.we in privatelink.azure-automation.net
         5a6b.jrds.we.azure-automation.net -> 5a6b.jrds.we in privatelink.azure-automation.net
         Microsoft.HealthcareApis/workspaces healthcareworkspace
         ws-fhir.fhir.azurehealthcareapis.com -> ws-fhir.fhir in privatelink.azurehealthcareapis.com
         ws.workspace.azurehealthcareapis.com -> ws.workspace in privatelink.azurehealthcareapis.com
         ws-img.dicom.azurehealthcareapis.com -> ws-img in privatelink.dicom.azurehealthcareapis.com
         Microsoft.Databricks/workspaces databricks_ui_api
         adb-123.4.azuredatabricks.net -> adb-123.4 in privatelink.azuredatabricks.net",
    );
}

#[test]
fn kusto_has_the_label_between_cluster_and_region() {
    let kusto = "Microsoft.Kusto/clusters cluster
        adx.eastus.kusto.windows.net -> adx in privatelink.eastus.kusto.windows.net
        ingest-adx.eastus.kusto.windows.net -> ingest-adx in privatelink.eastus.kusto.windows.net
        kustostor01.table.core.windows.net -> kustostor01 in privatelink.table.core.windows.net";
    check(Cloud::Public, kusto);
    check(
        Cloud::China,
        &kusto.replace("windows.net", "windows.cn").lines().take(3).collect::<Vec<_>>().join("\n"),
    );
    let private = "adx.privatelink.eastus.kusto.windows.net";
    assert_eq!(publicly(private), "adx in privatelink.eastus.kusto.windows.net");
    assert_eq!(public_names(Cloud::Public, private), ["adx.eastus.kusto.windows.net"]);
}

#[test]
fn a_key_vault_changes_its_stem() {
    for (cloud, public, zone) in [
        (Cloud::Public, "vault.azure.net", "privatelink.vaultcore.azure.net"),
        (Cloud::UsGov, "vault.usgovcloudapi.net", "privatelink.vaultcore.usgovcloudapi.net"),
        (Cloud::China, "vault.azure.cn", "privatelink.vaultcore.azure.cn"),
    ] {
        let fqdn = format!("kv01.{public}");
        assert_eq!(place(cloud, &fqdn, "microsoft.keyvault/VAULTS", "Vault"), format!("kv01 in {zone}"));
        let core = fqdn.replace("vault.", "vaultcore.");
        assert_eq!(place(cloud, &core, "", ""), format!("kv01 in {zone}"));
        let back = public_names(cloud, &format!("kv01.{zone}"));
        assert!(back.contains(&fqdn) && back.contains(&core), "{back:?}");
    }
    assert_eq!(public_names(Cloud::Public, "kv.privatelink.vaultcore.azure.net")[0], "kv.vault.azure.net");
}

#[test]
fn the_longer_suffix_wins_over_the_one_inside_it() {
    check(
        Cloud::Public,
        "any
         srv.database.windows.net -> srv in privatelink.database.windows.net
         mi.1a2b3c.database.windows.net -> mi in privatelink.1a2b3c.database.windows.net
         ws.sql.azuresynapse.net -> ws in privatelink.sql.azuresynapse.net
         ws-ondemand.sql.azuresynapse.net -> ws-ondemand in privatelink.sql.azuresynapse.net
         ws.dev.azuresynapse.net -> ws in privatelink.dev.azuresynapse.net
         web.azuresynapse.net -> web in privatelink.azuresynapse.net
         ns.westeurope-1.ts.eventgrid.azure.net -> ns.westeurope-1 in privatelink.ts.eventgrid.azure.net
         id.agentsvc.azure-automation.net -> id in privatelink.agentsvc.azure-automation.net
         x.westeurope.prometheus.monitor.azure.com -> x in privatelink.westeurope.prometheus.monitor.azure.com
         global.in.ai.monitor.azure.com -> global.in.ai in privatelink.monitor.azure.com
         Microsoft.EventGrid/namespaces topic
         ns.westeurope-1.ts.eventgrid.azure.net -> ns.westeurope-1 in privatelink.ts.eventgrid.azure.net
         Microsoft.Sql/managedInstances managedInstance
         mi.1a2b3c.database.windows.net -> mi in privatelink.1a2b3c.database.windows.net
         Microsoft.Sql/servers sqlServer
         a.b.database.windows.net -> a.b in privatelink.database.windows.net",
    );
    for (cloud, suffix) in [(Cloud::UsGov, "usgovcloudapi.net"), (Cloud::China, "chinacloudapi.cn")] {
        for kind in ["mysql", "postgres"] {
            let zone = format!("privatelink.{kind}.database.{suffix}");
            let fqdn = format!("srv.{kind}.database.{suffix}");
            assert_eq!(place(cloud, &fqdn, "", ""), format!("srv in {zone}"));
            assert_eq!(place(cloud, &format!("srv.{zone}"), "", ""), format!("srv in {zone}"));
        }
    }
}

#[test]
fn resource_management_takes_its_own_name_and_not_half_of_azure() {
    assert_eq!(publicly("management.azure.com"), "management in privatelink.azure.com");
    assert_eq!(publicly("portal.azure.com"), "nowhere");
    assert_eq!(publicly("x.openai.azure.com"), "x in privatelink.openai.azure.com");
    assert_eq!(public_names(Cloud::Public, "management.privatelink.azure.com"), ["management.azure.com"]);
    assert!(public_names(Cloud::Public, "portal.privatelink.azure.com").is_empty());
}

#[test]
fn virtual_desktop_tells_its_two_labels_apart_by_type_and_group() {
    for (cloud, suffix) in
        [(Cloud::Public, "wvd.microsoft.com"), (Cloud::UsGov, "wvd.azure.us"), (Cloud::China, "wvd.azure.cn")]
    {
        let script = "Microsoft.DesktopVirtualization/workspaces global
             rdweb.@ -> rdweb in privatelink-global.@
             Microsoft.DesktopVirtualization/workspaces FEED
             x.@ -> x in privatelink.@
             Microsoft.DesktopVirtualization/hostpools connection
             x.@ -> x in privatelink.@
             any
             rdweb.privatelink-global.@ -> rdweb in privatelink-global.@";
        check(cloud, &script.replace('@', suffix));
        let names = private_names(cloud, &format!("x.{suffix}"));
        assert_eq!(
            names,
            ["privatelink", "privatelink-global"].map(|label| format!("x in {label}.{suffix}"))
        );
        let back = public_names(cloud, &format!("rdweb.privatelink-global.{suffix}"));
        assert_eq!(back, [format!("rdweb.{suffix}")]);
    }
}

#[test]
fn redis_of_one_type_and_group_is_told_apart_by_suffix() {
    check(
        Cloud::Public,
        "Microsoft.Cache/redisEnterprise redisEnterprise
         c.westeurope.redisenterprise.cache.azure.net -> c.westeurope in privatelink.redisenterprise.cache.azure.net
         c.westeurope.redis.azure.net -> c.westeurope in privatelink.redis.azure.net",
    );
}

#[test]
fn one_endpoint_has_names_in_several_zones() {
    check(
        Cloud::Public,
        "Microsoft.RecoveryServices/vaults AzureBackup
         4829-ab-pod01-fc1.privatelink.wcus.backup.windowsazure.com -> 4829-ab-pod01-fc1 in privatelink.wcus.backup.windowsazure.com
         abcpod01ecs114.blob.core.windows.net -> abcpod01ecs114 in privatelink.blob.core.windows.net
         abcpod01ecs114.queue.core.windows.net -> abcpod01ecs114 in privatelink.queue.core.windows.net
         Microsoft.CognitiveServices/accounts account
         ai.cognitiveservices.azure.com -> ai in privatelink.cognitiveservices.azure.com
         ai.openai.azure.com -> ai in privatelink.openai.azure.com
         ai.services.ai.azure.com -> ai in privatelink.services.ai.azure.com
         Microsoft.Insights/privateLinkScopes azuremonitor
         api.monitor.azure.com -> api in privatelink.monitor.azure.com
         2ac7.oms.opinsights.azure.com -> 2ac7 in privatelink.oms.opinsights.azure.com
         2ac7.ods.opinsights.azure.com -> 2ac7 in privatelink.ods.opinsights.azure.com
         2ac7.agentsvc.azure-automation.net -> 2ac7 in privatelink.agentsvc.azure-automation.net
         scadvisorcontentpl.blob.core.windows.net -> scadvisorcontentpl in privatelink.blob.core.windows.net
         Microsoft.Devices/IotHubs iotHub
         hub.azure-devices.net -> hub in privatelink.azure-devices.net
         ihsu-1.servicebus.windows.net -> ihsu-1 in privatelink.servicebus.windows.net
         Microsoft.DocumentDB/databaseAccounts Sql
         acct-westus2.documents.azure.com -> acct-westus2 in privatelink.documents.azure.com",
    );
    assert_eq!(
        place(Cloud::UsGov, "x.adx.monitor.azure.us", "Microsoft.Insights/privateLinkScopes", "azuremonitor"),
        "x in privatelink.adx.monitor.azure.us"
    );
}

#[test]
fn a_public_backup_name_leads_into_the_zone_of_its_geo_code() {
    assert_eq!(
        publicly("4829-ab-pod01-fc1.wcus.backup.windowsazure.com"),
        "4829-ab-pod01-fc1 in privatelink.wcus.backup.windowsazure.com"
    );
}

#[test]
fn site_recovery_is_placed_with_and_without_the_label() {
    let hint = ("Microsoft.RecoveryServices/vaults", "AzureSiteRecovery");
    for (cloud, suffix) in [(Cloud::Public, "windowsazure.com"), (Cloud::UsGov, "windowsazure.us")] {
        for label in ["", "privatelink."] {
            let fqdn = format!("6310475829361047582-asr-pod01-rcm1.cus.{label}siterecovery.{suffix}");
            let expected =
                format!("6310475829361047582-asr-pod01-rcm1.cus in privatelink.siterecovery.{suffix}");
            assert_eq!(place(cloud, &fqdn, hint.0, hint.1), expected);
            assert_eq!(place(cloud, &fqdn, "", ""), expected);
        }
    }
}

#[test]
fn zones_without_a_public_counterpart_are_known_in_every_cloud() {
    // Backup, Site Recovery, Migrate, the API servers of private AKS clusters, and frontends.
    let ends = [
        "backup.windowsazure.",
        "siterecovery.windowsazure.",
        "prod.migration.windowsazure.",
        "azmk8s.",
        ".azk8s.",
        ".aks.containerservice.azure.",
        // Application Gateway for Containers gives its frontends private names.
        "alb.azure.",
    ];
    for cloud in Cloud::ALL {
        let catalogue = Catalogue::builtin(cloud);
        for service in catalogue.services().iter().filter(|service| service.has_zone()) {
            let zone = service.zone.as_ref().expect("it has one").to_string();
            let private = zone.replace(['{', '}'], "");
            let private = name(&format!("a.{private}"));
            let is_without = ends.iter().any(|end| zone.contains(end));
            assert_eq!(catalogue.has_public_counterpart(private.borrow()), !is_without, "{zone}");
            if is_without {
                assert!(catalogue.public_names(private.borrow()).is_empty(), "{zone}");
            }
        }
    }
    // The zone of a service that the catalogue does not know is expected to be like most.
    let unknown = name("a.privatelink.new.azure.net");
    assert!(Catalogue::builtin(Cloud::Public).has_public_counterpart(unknown.borrow()));
}

#[test]
fn the_hyphen_that_a_template_left_before_the_geo_code_is_kept_and_not_repaired() {
    assert_eq!(
        publicly("1-asr-pod01-rcm1-.cus.privatelink.siterecovery.windowsazure.com"),
        "1-asr-pod01-rcm1-.cus in privatelink.siterecovery.windowsazure.com"
    );
}

#[test]
fn migrate_names_come_in_private_form_with_three_labels() {
    check(
        Cloud::Public,
        "Microsoft.Migrate/migrateProjects Default
         3d6a-isv.cus.hub.privatelink.prod.migration.windowsazure.com -> 3d6a-isv.cus.hub in privatelink.prod.migration.windowsazure.com
         Microsoft.OffAzure/masterSites Default
         7c1e-agent.cus.disc.privatelink.prod.migration.windowsazure.com -> 7c1e-agent.cus.disc in privatelink.prod.migration.windowsazure.com",
    );
}

#[test]
fn aks_names_are_placed_with_and_without_a_subzone() {
    check(
        Cloud::Public,
        "Microsoft.ContainerService/managedClusters management
         aks1.3534.privatelink.eastus.azmk8s.io -> aks1 in 3534.privatelink.eastus.azmk8s.io
         aks1.privatelink.eastus.azmk8s.io -> aks1 in privatelink.eastus.azmk8s.io
         aks1.private.eastus.azmk8s.io -> aks1 in private.eastus.azmk8s.io",
    );
}

#[test]
fn container_apps_take_their_zone_from_the_region_in_the_name() {
    assert_eq!(
        publicly("app.env-1.westeurope.azurecontainerapps.io"),
        "app.env-1 in privatelink.westeurope.azurecontainerapps.io"
    );
    assert_eq!(publicly("westeurope.azurecontainerapps.io"), "nowhere");
}

#[test]
fn a_static_web_app_has_a_partition_only_if_it_is_a_number() {
    assert_eq!(publicly("nice-sea-1.azurestaticapps.net"), "nice-sea-1 in privatelink.azurestaticapps.net");
    assert_eq!(
        publicly("nice-sea-1.2.azurestaticapps.net"),
        "nice-sea-1 in privatelink.2.azurestaticapps.net"
    );
    assert_eq!(
        publicly("nice-sea-1-7.westus2.azurestaticapps.net"),
        "nice-sea-1-7.westus2 in privatelink.azurestaticapps.net"
    );
}

#[test]
fn machine_learning_names_are_renamed_with_the_workspace_that_stands_beside_them() {
    let (ml, group) = ("Microsoft.MachineLearningServices/workspaces", "amlworkspace");
    for (cloud, api, inference) in [
        (Cloud::Public, "api.azureml.ms", "inference.ml.azure.com"),
        (Cloud::UsGov, "api.ml.azure.us", "inference.ml.azure.us"),
        (Cloud::China, "api.ml.azure.cn", "inference.ml.azure.cn"),
    ] {
        let catalogue = Catalogue::builtin(cloud);
        let beside = [
            name(&format!("9b4d.workspace.eastus.{api}")),
            name(&format!("9b4d.workspace.eastus.cert.{api}")),
            name(&format!("*.eastus.{inference}")),
        ];
        let hint = Hint { resource_type: Some(ml), group_id: Some(group), beside: &beside };
        let places: Vec<String> =
            beside.iter().map(|fqdn| write(&catalogue.place(fqdn.borrow(), hint).unwrap())).collect();
        let zone = format!("privatelink.{api}");
        assert_eq!(places[0], format!("9b4d.workspace.eastus in {zone}"));
        assert_eq!(places[1], format!("9b4d.workspace.eastus.cert in {zone}"));
        assert_eq!(places[2], format!("*.9b4d.inference.eastus in {zone}"));
        assert_eq!(
            public_names(cloud, &format!("ep.9b4d.inference.eastus.{zone}")),
            [format!("ep.eastus.{inference}")]
        );
        assert_eq!(
            public_names(cloud, &format!("9b4d.workspace.eastus.{zone}")),
            [format!("9b4d.workspace.eastus.{api}"), format!("9b4d.workspace.eastus.cert.{api}")]
        );
        assert_eq!(
            public_names(cloud, &format!("9b4d.workspace.eastus.cert.{zone}")),
            [format!("9b4d.workspace.eastus.cert.{api}")]
        );
        // Public DNS folds the certificate's name into the workspace's record: both are tried.
        assert_eq!(
            private_names(cloud, &format!("9b4d.workspace.eastus.cert.{api}")),
            ["9b4d.workspace.eastus.cert", "9b4d.workspace.eastus"]
                .map(|record| format!("{record} in {zone}"))
        );
        // The workspace of another region tells nothing.
        let other = name(&format!("*.westus.{inference}"));
        assert_eq!(catalogue.place(other.borrow(), hint), None);
    }
    assert_eq!(publicly("ep.eastus.inference.ml.azure.com"), "nowhere");
    assert_eq!(publicly("ci.eastus.instances.azureml.ms"), "nowhere");
    assert_eq!(publicly("ws.eastus.notebooks.azure.net"), "ws.eastus in privatelink.notebooks.azure.net");
}

#[test]
fn partitioned_storage_names_keep_their_partition_in_the_record() {
    for (resource_type, group) in [
        ("Microsoft.RecoveryServices/vaults", "AzureBackup"),
        ("Microsoft.ElasticSan/elasticSans", "volumegroup"),
        ("", ""),
    ] {
        assert_eq!(
            place(Cloud::Public, "prot121.z12.blob.storage.azure.net", resource_type, group),
            "prot121.z12 in privatelink.blob.core.windows.net"
        );
    }
    assert_eq!(
        private_names(Cloud::Public, "acct.z12.blob.storage.azure.net"),
        ["acct.z12 in privatelink.blob.core.windows.net", "acct.z12 in privatelink.blob.storage.azure.net"]
    );
    assert_eq!(
        public_names(Cloud::Public, "acct.z12.privatelink.blob.core.windows.net"),
        ["acct.z12.blob.storage.azure.net"]
    );
    assert_eq!(
        public_names(Cloud::Public, "acct.privatelink.blob.core.windows.net"),
        ["acct.blob.core.windows.net"]
    );
}

#[test]
fn secondary_storage_endpoints_have_names_of_their_own() {
    for (cloud, suffix) in [
        (Cloud::Public, "windows.net"),
        (Cloud::UsGov, "usgovcloudapi.net"),
        (Cloud::China, "chinacloudapi.cn"),
    ] {
        for service in ["blob", "table", "queue", "file", "web", "dfs"] {
            let fqdn = format!("acct-secondary.{service}.core.{suffix}");
            let group = format!("{service}_secondary");
            assert_eq!(
                place(cloud, &fqdn, "Microsoft.Storage/storageAccounts", &group),
                format!("acct-secondary in privatelink.{service}.core.{suffix}")
            );
        }
    }
}

#[test]
fn signalr_of_china_keeps_what_its_suffix_has_more_than_the_zone() {
    assert_eq!(
        place(Cloud::China, "hub.service.signalr.azure.cn", "", ""),
        "hub.service in privatelink.signalr.azure.cn"
    );
}

#[test]
fn a_current_zone_wins_over_a_variant_and_an_older_one() {
    check(
        Cloud::UsGov,
        "any
         reg.usgovvirginia.azurecr.us -> reg.usgovvirginia in privatelink.azurecr.us
         app.scm.azurewebsites.us -> app.scm in privatelink.azurewebsites.us
         svc.search.azure.us -> svc in privatelink.search.azure.us",
    );
    check(
        Cloud::Public,
        "any
         app.scm.privatelink.azurewebsites.net -> app.scm in privatelink.azurewebsites.net
         reg.westus2.data.privatelink.azurecr.io -> reg.westus2.data in privatelink.azurecr.io
         acct.westeurope.privatelink.batch.azure.com -> acct.westeurope in privatelink.batch.azure.com
         bot.europe.token.botframework.com -> bot.europe in privatelink.token.botframework.com",
    );
    // The older one is still tried, since a zone that somebody made then may be served.
    assert!(
        private_names(Cloud::Public, "acct.westeurope.batch.azure.com")
            .contains(&"acct in privatelink.westeurope.batch.azure.com".to_owned())
    );
}

#[test]
fn a_service_that_has_no_zone_is_not_given_anothers() {
    check(
        Cloud::Public,
        "Microsoft.Web/hostingEnvironments hosting environment
         app.ase.p.azurewebsites.net -> nowhere
         Microsoft.Network/privateLinkServices
         x.blob.core.windows.net -> nowhere",
    );
}

#[test]
fn a_name_below_one_services_suffix_can_lead_into_anothers_zone() {
    for suffix in ["azure.com", "azure.us"] {
        let cloud = if suffix == "azure.us" { Cloud::UsGov } else { Cloud::Public };
        let script = "Microsoft.Purview/accounts portal
             web.purview.@ -> web in privatelink.purviewstudio.@
             Microsoft.Purview/accounts account
             contosopv.purview.@ -> contosopv in privatelink.purview.@
             web.purview.@ -> web in privatelink.purviewstudio.@
             any
             web.purview.@ -> web in privatelink.purviewstudio.@";
        check(cloud, &script.replace('@', suffix));
        let back = public_names(cloud, &format!("web.privatelink.purviewstudio.{suffix}"));
        assert_eq!(back, [format!("web.purview.{suffix}")]);
    }
    for (public, private) in [
        ("contosobot.botplinks.botframework.com", "contosobot.privatelink.directline.botframework.com"),
        ("contosobot.bottoken.botframework.com", "contosobot.privatelink.token.botframework.com"),
    ] {
        assert!(public_names(Cloud::Public, private).contains(&public.to_owned()));
    }
}

#[test]
fn a_public_suffix_can_be_a_name_itself() {
    for (cloud, suffix) in [(Cloud::Public, "com"), (Cloud::UsGov, "us"), (Cloud::China, "cn")] {
        let fqdn = format!("adf.azure.{suffix}");
        let expected = format!("portal in privatelink.adf.azure.{suffix}");
        assert_eq!(place(cloud, &fqdn, "Microsoft.DataFactory/factories", "portal"), expected);
        assert_eq!(private_names(cloud, &fqdn), [expected]);
        assert_eq!(public_names(cloud, &format!("portal.privatelink.{fqdn}")), [fqdn]);
    }
}

#[test]
fn zones_that_were_renamed_are_told_apart_from_those_in_use() {
    use crate::privatelink::Status;
    for (cloud, zone, status) in [
        (Cloud::Public, "privatelink.kubernetesconfiguration.azure.com", Status::Older),
        (Cloud::Public, "privatelink.farmbeats.azure.net", Status::Older),
        (Cloud::Public, "privatelink.durabletask.io", Status::Current),
        (Cloud::Public, "privatelink.notificationhub.windows.net", Status::Current),
        (Cloud::Public, "privatelink.notificationhubs.windows.net", Status::Current),
        (Cloud::Public, "privatelink.contentunderstanding.ai.azure.com", Status::Variant),
        (Cloud::UsGov, "privatelink.afs.azure.us", Status::Current),
        (Cloud::China, "privatelink.vaultcore.chinacloudapi.cn", Status::Older),
    ] {
        let catalogue = Catalogue::builtin(cloud);
        let zone = name(zone);
        let services = catalogue.is_private_link_zone(zone.borrow()).unwrap();
        assert_eq!(services[0].status, status, "{zone}");
        assert_ne!(services[0].sources, ["D26"], "{zone}");
    }
}

#[test]
fn names_that_the_catalogue_does_not_know_are_placed_nowhere() {
    for fqdn in [
        ".",
        "net",
        "example.com",
        "notblob.core.windows.net",
        "blob.core.windows.net",
        "privatelink.blob.core.windows.net",
        "x.privatelink.unknown.core.windows.net",
        "x.privatelink.y.blob.core.windows.net",
        "acct.blob.core.usgovcloudapi.net",
    ] {
        assert_eq!(publicly(fqdn), "nowhere", "{fqdn}");
        assert!(private_names(Cloud::Public, fqdn).is_empty(), "{fqdn}");
    }
    assert_eq!(
        publicly("privatelink-test.vault.azure.net"),
        "privatelink-test in privatelink.vaultcore.azure.net"
    );
}

#[test]
fn a_hint_of_an_unknown_type_leaves_the_suffix_to_decide() {
    assert_eq!(
        place(Cloud::Public, "acct.blob.core.windows.net", "Microsoft.New/things", "thing"),
        "acct in privatelink.blob.core.windows.net"
    );
}

#[test]
fn a_name_too_long_for_the_label_is_placed_nowhere() {
    let front = format!("{}.{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(35));
    let fqdn = format!("{front}.blob.core.windows.net");
    assert_eq!(publicly(&fqdn), "nowhere");
    assert!(private_names(Cloud::Public, &fqdn).is_empty());
}
